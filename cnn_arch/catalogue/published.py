"""The networks' published errors, each with its protocol and its source.

Only errors that were read in the source stand here, in percent. Of a network's errors
on a data set, the first is the one that compares best with the others': one central
crop where someone has published it.
"""

import dataclasses

ONE_CROP = "one central crop"
TEN_CROPS = "ten crops"

# Families and papers, by how a network's name begins; the first that fits holds.
FAMILIES = {
    "lenet5": ("LeNet", "LeCun et al. 1998"),
    "lenet": ("LeNet", "LeCun et al. 1998, in its modern form"),
    "alexnet_owt": ("AlexNet", "Krizhevsky 2014"),
    "alexnet": ("AlexNet", "Krizhevsky et al. 2012"),
    "zfnet": ("AlexNet", "Zeiler and Fergus 2013"),
    "vgg": ("VGG", "Simonyan and Zisserman 2014"),
    "nin": ("NiN", "Lin et al. 2013"),
    "googlenet": ("Inception", "Szegedy et al. 2014"),
    "inception_v3": ("Inception", "Szegedy et al. 2015"),
    "inception_v4": ("Inception", "Szegedy et al. 2016"),
    "resnet": ("ResNet", "He et al. 2015"),
    "plain": ("Plain", "He et al. 2015"),
}


@dataclasses.dataclass(frozen=True)
class PublishedError:
    """What someone measured.

    Attributes:
      network: its name in the catalogue.
      dataset: ``ImageNet`` (the 50,000 validation images), ``CIFAR-10`` or ``MNIST``
        (their 10,000 test images).
      top1: error, percent; None where only the top-5 error is known.
      top5: error, percent; None where there is none.
      protocol: which pixels of an image the network saw, and what is particular.
      source: paper and table, or program and file.
    """

    network: str
    dataset: str
    top1: float | None
    top5: float | None
    protocol: str
    source: str


def family(network: str) -> tuple[str, str]:
    """Returns the family and the paper of a network: "Others" and "" if unknown."""
    for prefix, entry in FAMILIES.items():
        if network.startswith(prefix):
            return entry
    return "Others", ""


def published_errors(network: str, dataset: str | None = None) -> list[PublishedError]:
    """Returns what is published of a network, what compares best first.

    Args:
      network: its name in the catalogue.
      dataset: only on this one.
    """
    return [
        error
        for error in ERRORS
        if error.network == network and dataset in (None, error.dataset)
    ]


# torchvision's metadata of the weights IMAGENET1K_V1: accuracies in percent. By its
# network ``resnet50`` it means resnet50_v1_5 here.
_TORCHVISION = {
    "alexnet_owt": (56.522, 79.066),
    "vgg11": (69.020, 88.628),
    "vgg11_bn": (70.370, 89.810),
    "vgg13": (69.928, 89.246),
    "vgg13_bn": (71.586, 90.374),
    "vgg16": (71.592, 90.382),
    "vgg16_bn": (73.360, 91.516),
    "vgg19": (72.376, 90.876),
    "vgg19_bn": (74.218, 91.842),
    "googlenet_bn": (69.778, 89.530),
    "inception_v3": (77.294, 93.450),
    "resnet18": (69.758, 89.078),
    "resnet34": (73.314, 91.420),
    "resnet50_v1_5": (76.130, 92.862),
    "resnet101_v1_5": (77.374, 93.546),
    "resnet152_v1_5": (78.312, 94.046),
}

# Simonyan and Zisserman 2014, Table 3: the best row of each configuration.
_VGG_TABLE_3 = {
    "vgg11": (29.6, 10.4, "256, test 256"),
    "vgg11_lrn": (29.7, 10.5, "256, test 256"),
    "vgg13": (28.7, 9.9, "256, test 256"),
    "vgg16_c": (27.3, 8.8, "256 to 512, test 384"),
    "vgg16": (25.6, 8.1, "256 to 512, test 384"),
    "vgg19": (25.5, 8.0, "256 to 512, test 384"),
}

# He et al. 2015, Tables 2 and 3.
_RESNET_TEN_CROPS = {
    "plain18": (27.94, None, "Table 2"),
    "resnet18": (27.88, None, "Table 2: option A"),
    "plain34": (28.54, 10.02, "Table 3"),
    "resnet34": (24.52, 7.46, "Table 3: option B"),
    "resnet50": (22.85, 6.71, "Table 3"),
    "resnet101": (21.75, 6.05, "Table 3"),
    "resnet152": (21.43, 5.71, "Table 3"),
}

# He et al. 2015, Table 6; of 110 layers the best of five runs.
_RESNET_CIFAR = {
    "resnet20": 8.75,
    "resnet32": 7.51,
    "resnet44": 7.17,
    "resnet56": 6.97,
    "resnet110": 6.43,
    "resnet1202": 7.93,
}

_LECUN = "LeCun et al. 1998, Section III.B"
_CAFFE = "github.com/BVLC/caffe, models/bvlc_{}/readme.md"
_KRIZHEVSKY = "Krizhevsky et al. 2012, Table 2: 1 CNN"
_ZEILER = "Zeiler and Fergus 2013, Table 2: "
_SZEGEDY = "Szegedy et al. 2014, Table 3"
_SLIM = "github.com/tensorflow/models, research/slim: inception_v4_2016_09_09"
_HE_README = "github.com/KaimingHe/deep-residual-networks, README"

ERRORS: tuple[PublishedError, ...] = (
    PublishedError(
        "lenet5", "MNIST", 0.95, None, "whole image, no distortions", _LECUN
    ),
    PublishedError(
        "lenet5", "MNIST", 0.8, None, "whole image, trained with distortions", _LECUN
    ),
    PublishedError(
        "alexnet", "ImageNet", 42.9, 19.8, ONE_CROP, _CAFFE.format("alexnet")
    ),
    PublishedError("alexnet", "ImageNet", 40.7, 18.2, TEN_CROPS, _KRIZHEVSKY),
    PublishedError(
        "zfnet", "ImageNet", 38.4, 16.5, TEN_CROPS, f"{_ZEILER}1 as Figure 3"
    ),
    PublishedError("zfnet_wide", "ImageNet", 37.5, 16.0, TEN_CROPS, f"{_ZEILER}(b)"),
    PublishedError(
        "googlenet", "ImageNet", 31.3, 11.1, ONE_CROP, _CAFFE.format("googlenet")
    ),
    PublishedError("googlenet", "ImageNet", None, 10.07, ONE_CROP, _SZEGEDY),
    PublishedError("googlenet", "ImageNet", None, 9.15, TEN_CROPS, _SZEGEDY),
    PublishedError("inception_v4", "ImageNet", 19.8, 4.8, ONE_CROP, _SLIM),
    PublishedError("resnet50", "ImageNet", 24.7, 7.8, ONE_CROP, _HE_README),
    PublishedError("resnet101", "ImageNet", 23.6, 7.1, ONE_CROP, _HE_README),
    PublishedError("resnet152", "ImageNet", 23.0, 6.7, ONE_CROP, _HE_README),
    *(
        PublishedError(
            network,
            dataset="ImageNet",
            top1=round(100 - top1, 3),
            top5=round(100 - top5, 3),
            protocol=ONE_CROP,
            source="torchvision, weights IMAGENET1K_V1",
        )
        for network, (top1, top5) in _TORCHVISION.items()
    ),
    PublishedError(
        "inception_v3",
        dataset="ImageNet",
        top1=21.2,
        top5=5.6,
        protocol="one crop, 48,238 of the images",
        source="Szegedy et al. 2015, abstract",
    ),
    *(
        PublishedError(
            network,
            dataset="ImageNet",
            top1=top1,
            top5=top5,
            protocol=f"dense, shorter side {sides}",
            source="Simonyan and Zisserman 2014, Table 3",
        )
        for network, (top1, top5, sides) in _VGG_TABLE_3.items()
    ),
    *(
        PublishedError(
            network, "ImageNet", top1, top5, TEN_CROPS, f"He et al. 2015, {table}"
        )
        for network, (top1, top5, table) in _RESNET_TEN_CROPS.items()
    ),
    *(
        PublishedError(
            network, "CIFAR-10", top1, None, "whole image", "He et al. 2015, Table 6"
        )
        for network, top1 in _RESNET_CIFAR.items()
    ),
    PublishedError(
        "nin_cifar",
        dataset="CIFAR-10",
        top1=8.81,
        top5=None,
        protocol="whole image, trained with flips",
        source="Lin et al. 2013, Table 1; He et al. 2015, Table 6",
    ),
)
