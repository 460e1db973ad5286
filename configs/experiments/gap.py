"""Lin et al. 2013, Section 4.6: global average pooling against a dense layer."""

from configs.experiments.base import CS231N, D2L, difference, ratio

DENSE = {"model.fields.head": "dense"}
GOOGLENET = {
    "config": "googlenet",
    "model.fields.aux_heads": False,  # they need 79 px
    "data.image_size": 64,  # the last maps have 2x2 pixels
    "test.protocol": "none",
}
PAIRS = ("dense", "average"), ("GoogLeNet, dense", "GoogLeNet, average")


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    return {
        "claim": "Global average pooling in place of a dense layer has fewer "
        "parameters, over-fits less and has a lower test error.",
        "sources": [
            CS231N,
            D2L,
            "Lin et al. 2013, Section 4.6, on CIFAR-10; Table 1: 10.41 % with global "
            "average pooling, after 260 epochs",
        ],
        "data": "cifar10",
        "variants": {
            "average": {},
            "dense": DENSE,
            "dense, dropout": {**DENSE, "model.fields.head_dropout_rate": 0.5},
            "GoogLeNet, average": GOOGLENET,
            "GoogLeNet, dense": {**GOOGLENET, **DENSE},
        },
        "settings": {"config": "nin_cifar", "data.normalisation": "channels"},
        "sizes": {
            "minutes": {
                "seeds": 1,
                "settings": {"epochs": 0.15},
                "variants": [variant for pair in PAIRS for variant in pair],
            },
            "full": {"seeds": 3, "settings": {"epochs": 5.0}},
        },
        "measures": ["test_error", "gap_of_trained", "parameters"],
        "rule": [
            comparison
            for pair in PAIRS
            for comparison in (
                ratio("parameters", *pair, above=1),
                difference("gap_of_trained", *pair, above=0),
                difference("test_error", *pair, above=0),
            )
        ],
        "figure": "dots",
        "caveats": "'average' and 'dense' are heads of NiN for CIFAR-10, on images "
        "without the paper's whitening. The runs are far shorter than the paper's 260 "
        "epochs. GoogLeNet has no BatchNorm, as in the paper, and here no auxiliary "
        "heads: it learns slowly at first.",
    }
