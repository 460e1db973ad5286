"""The networks' published errors in percent, each with its protocol and its source.

Every error was read in its source. Of the errors of a network on a data set, the first
compares best with other networks: one central crop, if someone has published it.
"""

import dataclasses

ONE_CROP = "one central crop"
TEN_CROPS = "ten crops"
_MOST_IMAGES = "one crop, 48,238 of the images"

# Family and paper, by the start of a network's name; the first match counts.
FAMILIES = {
    "lenet5": ("LeNet", "LeCun et al. 1998"),
    "lenet": ("LeNet", "LeCun et al. 1998, in its modern form"),
    "alexnet_owt": ("AlexNet", "Krizhevsky 2014"),
    "alexnet": ("AlexNet", "Krizhevsky et al. 2012"),
    "cuda_convnet": ("AlexNet", "Krizhevsky et al. 2012, on CIFAR-10"),
    "zfnet": ("AlexNet", "Zeiler and Fergus 2013"),
    "vgg": ("VGG", "Simonyan and Zisserman 2014"),
    "nin": ("NiN", "Lin et al. 2013"),
    "googlenet": ("Inception", "Szegedy et al. 2014"),
    "inception_cifar": ("Inception", "ours, of GoogLeNet's modules"),
    "kernel_stacks": ("VGG", "ours, on VGG's kernels"),
    "inception_v3": ("Inception", "Szegedy et al. 2015"),
    "inception_v4": ("Inception", "Szegedy et al. 2016"),
    "resnet": ("ResNet", "He et al. 2015"),
    "plain": ("Plain", "He et al. 2015"),
}


@dataclasses.dataclass(frozen=True)
class PublishedError:
    """A published error of a network."""

    network: str  # name in the catalogue
    dataset: str  # ImageNet (50,000 validation images), CIFAR-10 or MNIST (test images)
    top1: float | None  # percent; None if only the top-5 error is known
    top5: float | None  # percent; None if not published
    protocol: str  # the crops, and other peculiarities of the measurement
    source: str  # paper and table, or program and file


def family(network: str) -> tuple[str, str]:
    """Returns the family and the paper of a network; "Others" and "" if unknown."""
    for prefix, entry in FAMILIES.items():
        if network.startswith(prefix):
            return entry
    return "Others", ""


def published_errors(network: str, dataset: str | None = None) -> list[PublishedError]:
    """Returns a network's errors, all or on one data set; the best to compare first."""
    return [
        error
        for error in ERRORS
        if error.network == network and dataset in (None, error.dataset)
    ]


# torchvision's metadata of the weights IMAGENET1K_V1: top-1 and top-5 accuracies, %.
# Its network resnet50 is resnet50_v1_5 here.
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

# He et al. 2015, Table 6; with 110 layers, the best of five runs.
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
_FOUR_LAYERS = "Krizhevsky et al. 2012, Section 3.3: with normalization"
_ZEILER = "Zeiler and Fergus 2013, Table 2: "
_SIMONYAN = "Simonyan and Zisserman 2014, Table 3"
_SZEGEDY = "Szegedy et al. 2014, Table 3"
_SZEGEDY_V3 = "Szegedy et al. 2015, abstract"
_LIN = "Lin et al. 2013, Table 1; He et al. 2015, Table 6"
_HE = "He et al. 2015, {}"
_WEIGHTS = "torchvision, weights IMAGENET1K_V1"
_SLIM = "github.com/tensorflow/models, research/slim: inception_v4_2016_09_09"
_HE_README = "github.com/KaimingHe/deep-residual-networks, README"

# The fields of PublishedError. A network's first row for a data set compares best.
_ROWS = (
    ("lenet5", "MNIST", 0.95, None, "whole image, no distortions", _LECUN),
    ("lenet5", "MNIST", 0.8, None, "whole image, trained with distortions", _LECUN),
    ("alexnet", "ImageNet", 42.9, 19.8, ONE_CROP, _CAFFE.format("alexnet")),
    ("alexnet", "ImageNet", 40.7, 18.2, TEN_CROPS, _KRIZHEVSKY),
    ("cuda_convnet", "CIFAR-10", 11.0, None, TEN_CROPS, _FOUR_LAYERS),
    ("zfnet", "ImageNet", 38.4, 16.5, TEN_CROPS, f"{_ZEILER}1 as Figure 3"),
    ("zfnet_wide", "ImageNet", 37.5, 16.0, TEN_CROPS, f"{_ZEILER}(b)"),
    ("nin_cifar", "CIFAR-10", 8.81, None, "whole image, trained with flips", _LIN),
    ("googlenet", "ImageNet", 31.3, 11.1, ONE_CROP, _CAFFE.format("googlenet")),
    ("googlenet", "ImageNet", None, 10.07, ONE_CROP, _SZEGEDY),
    ("googlenet", "ImageNet", None, 9.15, TEN_CROPS, _SZEGEDY),
    ("inception_v4", "ImageNet", 19.8, 4.8, ONE_CROP, _SLIM),
    ("resnet50", "ImageNet", 24.7, 7.8, ONE_CROP, _HE_README),
    ("resnet101", "ImageNet", 23.6, 7.1, ONE_CROP, _HE_README),
    ("resnet152", "ImageNet", 23.0, 6.7, ONE_CROP, _HE_README),
    *(
        (name, "ImageNet", round(100 - a, 3), round(100 - b, 3), ONE_CROP, _WEIGHTS)
        for name, (a, b) in _TORCHVISION.items()
    ),
    ("inception_v3", "ImageNet", 21.2, 5.6, _MOST_IMAGES, _SZEGEDY_V3),
    *(
        (name, "ImageNet", top1, top5, f"dense, shorter side {sides}", _SIMONYAN)
        for name, (top1, top5, sides) in _VGG_TABLE_3.items()
    ),
    *(
        (name, "ImageNet", top1, top5, TEN_CROPS, _HE.format(table))
        for name, (top1, top5, table) in _RESNET_TEN_CROPS.items()
    ),
    *(
        (name, "CIFAR-10", top1, None, "whole image", _HE.format("Table 6"))
        for name, top1 in _RESNET_CIFAR.items()
    ),
)
ERRORS = tuple(PublishedError(*row) for row in _ROWS)
