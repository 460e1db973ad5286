"""Canziani et al. 2016 (v4: 2017): the time and the power of a forward pass."""

from configs.experiments.base import CS231N, ratio, recipes

# Those with images of 224 to 299 px, as the paper's. The rule compares them.
NETWORKS = (
    "alexnet alexnet_owt zfnet nin vgg11 vgg13 vgg16 vgg19 googlenet inception_v3 "
    "inception_v4 resnet18 resnet34 resnet50 resnet101 resnet152"
).split()
# The other networks of papers: variants of those above, and networks for MNIST and
# CIFAR-10.
MORE = (
    "alexnet_one_tower zfnet_wide vgg11_lrn vgg11_bn vgg13_bn vgg16_c vgg16_bn "
    "vgg19_bn googlenet_bn resnet50_v1_5 resnet101_v1_5 resnet152_v1_5 plain18 plain34 "
    "lenet5 lenet cuda_convnet nin_cifar resnet20 resnet32 resnet44 resnet56 resnet110 "
    "resnet1202 plain20 plain32 plain44 plain56 plain110"
).split()
TIME, POWER = "milliseconds:16", "watts:16"
COUNTED = "macs", "parameters", "published_error"
OTHERS = [name for name in NETWORKS if not name.startswith("vgg")]
CAVEATS = (
    "Noise in place of images, and random weights: neither changes the time. Other "
    "programs on the machine do. Power is that of the whole processor or GPU; on a "
    "machine that does not say it, its part of the claim is not decided. The published "
    "errors are of one crop, of ten or of dense tests, as the catalogue says. The "
    "figure has the networks for images of 224 to 299 px, but not their variants: with "
    "BatchNorm (VGG, GoogLeNet), LRN (VGG-11) or 1x1 convolutions (VGG-16), without "
    "shortcuts (plain), of v1.5 (ResNet), wide (ZFNet) or in one tower (AlexNet). The "
    "table has all networks of papers."
)


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    return {
        "claim": "VGG's forward pass is the slowest, and power hardly differs between "
        "networks (here: with 16 images in a batch, VGG-16 takes longer for an image "
        "than all others of the figure but VGG, and its power is within a quarter of "
        "AlexNet's).",
        "sources": [
            CS231N,
            "Canziani et al. 2016, abstract: power consumption is independent of batch "
            "size and architecture; the number of operations is a reliable estimate of "
            "the inference time",
        ],
        "data": "",
        "variants": recipes(*NETWORKS, *MORE),
        "settings": {},
        # A seed is a round: each measures all networks, one after another.
        "sizes": {
            "minutes": {
                "seeds": 2,
                "settings": {"batch_size": 16},
                "variants": ["alexnet", "vgg16", "googlenet", "resnet50"],
                "measures": [TIME, "milliseconds:1", "joules:16", POWER, *COUNTED],
            },
            "full": {"seeds": 3, "settings": {"batch_size": 64}},
        },
        "measures": [
            TIME,
            "milliseconds:1",
            "milliseconds:64",
            "images_per_second:64",
            "joules:16",
            POWER,
            *COUNTED,
        ],
        "rule": [
            *(ratio(TIME, "vgg16", name, above=1) for name in OTHERS),
            ratio(POWER, "vgg16", "alexnet", above=0.8, below=1.25),
        ],
        "figure": "times",
        "drawn": NETWORKS,
        "caveats": CAVEATS,
    }
