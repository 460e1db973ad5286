"""Simonyan and Zisserman 2014, Table 3: 11 to 19 layers, on photographs."""

from configs.experiments.base import CS231N, EECS498, difference


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    return {
        "claim": "A deeper VGG has a lower error: 13 layers than 11, 16 than 13, and "
        "19 a little lower than 16.",
        "sources": [
            CS231N,
            EECS498,
            "Simonyan and Zisserman 2014, Table 3: top-1 errors of 29.6 % (A), 28.7 % "
            "(B), 27.0 % (D) and 27.3 % (E) at one scale, S = 256",
        ],
        "data": "photographs",
        "variants": {
            f"{depth} layers": {"config": f"vgg{depth}_bn"}
            for depth in (11, 13, 16, 19)
        },
        "settings": {"test.protocol": "none"},
        "sizes": {
            "minutes": {
                "seeds": 1,
                "settings": {"epochs": 0.5, "data.image_size": 64},
            },
            "full": {
                "seeds": 3,
                "settings": {"epochs": 20.0, "data.image_size": 96},
            },
        },
        "measures": ["test_error", "memory", "parameters", "macs"],
        "rule": [
            difference("test_error", "13 layers", "11 layers", below=0),
            difference("test_error", "16 layers", "13 layers", below=0),
            difference("test_error", "19 layers", "16 layers", below=0),
        ],
        "figure": "dots",
        "caveats": "With BatchNorm, as torchvision's networks: the paper's could only "
        "be trained deep from the parameters of a shallow one.",
    }
