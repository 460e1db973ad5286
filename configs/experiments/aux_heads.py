"""Szegedy et al. 2015, Section 5: GoogLeNet's auxiliary classifiers, on photographs."""

from configs.experiments.base import CS231N, EECS498, difference, ratio


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    start = "first_gradient:first_step"
    return {
        "claim": "Auxiliary heads bring gradient to the early layers, and are of "
        "little use at the end (here: the first layer's gradient is larger with them, "
        "and the test error differs by less than 3 points).",
        "sources": [
            CS231N,
            EECS498,
            "Szegedy et al. 2015, Section 5",
            "Szegedy et al. 2016, Section 4: no effect early in training, a slightly "
            "better plateau near its end",
        ],
        "data": "photographs",
        "variants": {"with heads": {}, "without": {"model.fields.aux_heads": False}},
        "settings": {
            "config": "googlenet",
            "test.protocol": "none",
            "log.layer_gradients": True,
        },
        "sizes": {
            "minutes": {
                "seeds": 2,
                "settings": {"epochs": 0.5, "data.image_size": 96},
            },
            "full": {
                "seeds": 3,
                "settings": {"epochs": 5.0, "data.image_size": 96},
            },
        },
        "measures": [start, "first_gradient:last_epoch", "test_error"],
        "rule": [
            ratio(start, "with heads", "without", above=1),
            difference("test_error", "without", "with heads", above=-3, below=3),
        ],
        "series": ["layer_gradients:first_step", "layer_gradients:last_epoch"],
        "figure": "layers",
        "caveats": "GoogLeNet without BatchNorm, as in the paper, learns slowly on so "
        "few images.",
    }
