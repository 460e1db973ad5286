"""Krizhevsky et al. 2012, Section 3.4, on their four-layer network."""

from configs.experiments.base import CS231N, difference


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    return {
        "claim": "Pools that overlap (3x3 with stride 2) have a lower error than pools "
        "that do not (2x2 with stride 2), and over-fit a little less.",
        "sources": [
            CS231N,
            "Krizhevsky et al. 2012, Section 3.4: top-1 lower by 0.4 and top-5 by 0.3 "
            "points on ImageNet",
        ],
        "data": "cifar10",
        "variants": {
            "3x3, stride 2": {},
            "2x2, stride 2": {"model.fields.pool_window": 2},
        },
        "settings": {
            "config": "cuda_convnet",
            "data.normalisation": "mean_image",
            "test.protocol": "none",
        },
        "sizes": {
            "minutes": {"seeds": 2, "settings": {"epochs": 2.0}},
            "full": {"seeds": 5, "settings": {"epochs": 10.0}},
        },
        "measures": ["test_error", "training_error", "gap"],
        "rule": [
            difference("test_error", "2x2, stride 2", "3x3, stride 2", above=0),
            difference("gap", "2x2, stride 2", "3x3, stride 2", above=0),
        ],
        "figure": "dots",
        "caveats": "A short run hardly over-fits, so the gap is small.",
    }
