"""Krizhevsky et al. 2012 and Simonyan and Zisserman 2014: LRN in their own networks."""

from configs.experiments.base import CS231N, EECS498, difference


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    alexnet = {
        "config": "alexnet",
        "data.image_size": 67,  # the least with which pool5 has a pixel
        "model.fields.initial_bias": 0.1,
    }
    vgg = {"data.image_size": 32, "model.fields.initialisation": "glorot"}
    pairs = ("AlexNet without LRN", "AlexNet"), ("VGG-11", "VGG-11 with LRN")
    return {
        "claim": "Local response normalisation is of no use in AlexNet and VGG (here: "
        "it changes the test error by less than 1 point in each).",
        "sources": [
            CS231N,
            EECS498,
            "Krizhevsky et al. 2012, Section 3.3: 1.4 points less top-1 error with it",
            "Simonyan and Zisserman 2014, Table 3: top-1 errors of 29.6 % (A) and 29.7 "
            "% (A-LRN)",
        ],
        "data": "cifar10",
        "variants": {
            "AlexNet": alexnet,
            "AlexNet without LRN": {
                **alexnet,
                "model.fields.local_response_norm": False,
            },
            "VGG-11": {"config": "vgg11", **vgg},
            "VGG-11 with LRN": {"config": "vgg11_lrn", **vgg},
        },
        "settings": {"test.protocol": "none", "batch_size": 64},
        "sizes": {
            "minutes": {"seeds": 1, "settings": {"epochs": 0.3}},
            "full": {"seeds": 3, "settings": {"epochs": 1.0}},
        },
        "measures": ["test_error", "training_error"],
        "rule": [difference("test_error", *pair, above=-1, below=1) for pair in pairs],
        "figure": "curves",
        "caveats": "Networks of the papers on images of 67 and 32 px. "
        "They start so that a short run learns: AlexNet with biases of 0.1, VGG-11 "
        "with Glorot's weights. The rule asks that LRN changes little: a network that "
        "is much better without it breaks the rule as well.",
    }
