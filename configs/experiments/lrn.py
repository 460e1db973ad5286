"""Krizhevsky et al. 2012, Section 3.3, on their four-layer network."""

from configs.experiments.base import CS231N, EECS498, difference


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    return {
        "claim": "Local response normalisation helps little or nothing (here: it "
        "changes the test error by less than 1 point).",
        "sources": [
            CS231N,
            EECS498,
            "Krizhevsky et al. 2012, Section 3.3: 13 % without and 11 % with it on "
            "CIFAR-10",
            "Simonyan and Zisserman 2014, Table 3: A-LRN is not better than A",
        ],
        "data": "cifar10",
        "variants": {
            "with LRN": {},
            "without LRN": {"model.fields.local_response_norm": False},
        },
        "settings": {
            "config": "cuda_convnet",
            "data.normalisation": "mean_image",
            "test.protocol": "none",
        },
        "sizes": {
            "minutes": {"seeds": 2, "settings": {"epochs": 1.5}},
            "full": {"seeds": 5, "settings": {"epochs": 3.0}},
        },
        "measures": ["test_error", "training_error"],
        "rule": [
            difference("test_error", "without LRN", "with LRN", above=-1, below=1)
        ],
        "figure": "curves",
        "caveats": "The paper's network without LRN has 32 maps in local3, not 64; "
        "here both have 64, so that nothing else differs.",
    }
