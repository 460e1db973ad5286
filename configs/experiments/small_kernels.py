"""Simonyan and Zisserman 2014, Section 2.3: stacks of 3x3 convolutions."""

from configs.experiments.base import CS231N, EECS498, difference, ratio


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    large = {"model.fields.kernel_sizes": (7,)}
    return {
        "claim": "Three 3x3 convolutions see as much as one 7x7 and have more "
        "non-linearities: they are more accurate, with fewer weights, and also at as "
        "many multiply-adds.",
        "sources": [
            CS231N,
            EECS498,
            "Simonyan and Zisserman 2014, Section 2.3; Section 4.1: a shallow network "
            "with 5x5 has a top-1 error that is 7 points higher",
        ],
        "data": "cifar10",
        "variants": {
            "three 3x3": {},
            "one 7x7": large,
            "one 7x7, equal MACs": {**large, "model.fields.width": 0.75},
        },
        "settings": {"config": "kernel_stacks", "data.normalisation": "mean_image"},
        "sizes": {
            "minutes": {"seeds": 2, "settings": {"epochs": 0.5}},
            "full": {"seeds": 3, "settings": {"epochs": 8.0}},
        },
        "measures": ["test_error", "parameters", "macs"],
        "rule": [
            difference("test_error", "one 7x7", "three 3x3", above=0),
            difference("test_error", "one 7x7, equal MACs", "three 3x3", above=0),
            ratio("parameters", "one 7x7", "three 3x3", above=1),
        ],
        "figure": "dots",
        "caveats": "The network is ours: three stages of 32 maps with BatchNorm.",
    }
