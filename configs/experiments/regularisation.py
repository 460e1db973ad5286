"""Krizhevsky et al. 2012, Section 4: dropout and changed images, on photographs."""

from configs.experiments.base import CS231N, D2L, difference


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    still = {
        "data.train_crop": "none",
        "data.flip": False,
        "data.pca_noise": 0.0,
    }
    no_dropout = {"model.fields.dropout_rate": 0.0}
    return {
        "claim": "Dropout and changed images (crops, flips, colours) reduce "
        "over-fitting: each makes the gap between the errors in training and test "
        "smaller, and both together have the lowest test error.",
        "sources": [
            CS231N,
            D2L,
            "Krizhevsky et al. 2012, Section 4.1: without the changes, substantial "
            "over-fitting; Section 4.2: without dropout, substantial over-fitting",
        ],
        "data": "photographs",
        "variants": {
            "both": {},
            "no dropout": no_dropout,
            "same images": still,
            "neither": {**still, **no_dropout},
        },
        "settings": {"config": "alexnet", "test.protocol": "none"},
        "sizes": {
            "minutes": {
                "seeds": 1,
                "settings": {"epochs": 4.0, "data.image_size": 96},
            },
            "full": {
                "seeds": 3,
                "settings": {"epochs": 10.0, "data.image_size": 96},
            },
        },
        "measures": ["test_error", "gap_of_trained"],
        "rule": [
            difference("gap_of_trained", "neither", "no dropout", above=0),
            difference("gap_of_trained", "neither", "same images", above=0),
            difference("test_error", "neither", "both", above=0),
        ],
        "figure": "dots",
        "caveats": "The training error is that of the trained network on the training "
        "images as in the test: not changed, and without dropout.",
    }
