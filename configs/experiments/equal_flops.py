"""EECS 498-007, lecture 8: designs at equal operations."""

from configs.experiments.base import EECS498, difference


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    return {
        "claim": "Designs should be compared at equal operations (here: at about 40 "
        "million multiply-adds, a residual network has a lower error than a plain one, "
        "than stacks of 3x3 convolutions without shortcuts, and than a wider but "
        "shallower one of its kind).",
        "sources": [EECS498],
        "data": "cifar10",
        "variants": {
            "resnet20": {"config": "resnet20"},
            "plain20": {"config": "plain20"},
            "3x3 stacks": {"config": "kernel_stacks"},
            "inception": {"config": "inception_cifar", "model.fields.width": 0.44},
            "resnet56, narrow": {"config": "resnet56", "model.fields.width": 0.5625},
        },
        "settings": {"data.normalisation": "mean_image"},
        "sizes": {
            "minutes": {"seeds": 1, "settings": {"epochs": 0.5}},
            "full": {"seeds": 3, "settings": {"epochs": 8.0}},
        },
        "measures": ["test_error", "macs", "parameters"],
        "rule": [
            difference("test_error", "plain20", "resnet20", above=0),
            difference("test_error", "3x3 stacks", "resnet20", above=0),
            difference("test_error", "resnet20", "resnet56, narrow", above=0),
        ],
        "figure": "dots",
        "caveats": "Widths are chosen for equal multiply-adds; times differ.",
    }
