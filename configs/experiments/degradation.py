"""He et al. 2015, "Deep Residual Learning for Image Recognition", Figure 6."""

from configs.experiments.base import CS231N, EECS498, HALF_SIDE, difference, recipes


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    return {
        "claim": "A plain network of 56 layers has a higher training error than one of "
        "20 layers, so this is not over-fitting. With shortcuts, the deeper network is "
        "better.",
        "sources": [
            CS231N,
            EECS498,
            "He et al. 2015, Section 4.2 and Figure 6: test errors of 8.75 % with 20 "
            "layers and 6.97 % with 56 layers, after 64,000 steps",
        ],
        "data": "cifar10",
        "variants": recipes("plain20", "plain56", "resnet20", "resnet56"),
        "settings": {"data.normalisation": "mean_image"},
        "sizes": {
            "minutes": {"seeds": 1, "settings": {"epochs": 0.4}},
            "full": {"seeds": 3, "settings": {"epochs": 4.0, **HALF_SIDE}},
        },
        "measures": ["training_error", "test_error"],
        "rule": [
            difference("training_error", "plain56", "plain20", above=0),
            difference("test_error", "plain56", "plain20", above=0),
            difference("training_error", "resnet56", "resnet20", below=0),
            difference("test_error", "resnet56", "resnet20", below=0),
        ],
        "figure": "curves",
        "caveats": "The paper trains for 164 epochs, on images of 32 px. In a short "
        "run a deeper network has had less time for each of its layers, with shortcuts "
        "or without.",
    }
