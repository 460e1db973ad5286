"""Krizhevsky et al. 2012, Section 3.1 and Figure 1, on their four-layer network."""

from configs.experiments.base import CS231N, D2L, ratio


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    steps = "steps_to_training_error:25"
    return {
        "claim": "ReLU trains several times as fast as tanh and sigmoid (here: it "
        "reaches a training error of 25 % in less than half of their steps).",
        "sources": [
            CS231N,
            D2L,
            "Krizhevsky et al. 2012, Section 3.1 and Figure 1: six times as fast as "
            "tanh to a training error of 25 % on CIFAR-10",
        ],
        "data": "cifar10",
        "variants": {
            "ReLU": {},
            "tanh": {"model.fields.activation": "tanh"},
            "sigmoid": {"model.fields.activation": "sigmoid"},
        },
        # Figure 1: "No regularization of any kind was employed".
        "settings": {
            "config": "cuda_convnet",
            "data.normalisation": "mean_image",
            "optim.learning_rate": 0.003,  # with the recipe's 0.001, 25 % take longer
            "optim.weight_decay": 0.0,
            "optim.schedule": "constant",
            "data.train_crop": "none",
            "data.flip": False,
            "test.protocol": "none",
        },
        "sizes": {
            "minutes": {"seeds": 2, "settings": {"epochs": 0.8}},
            "full": {"seeds": 3, "settings": {"epochs": 14.0}},
        },
        "measures": [steps, "training_error"],
        "rule": [
            ratio(steps, "tanh", "ReLU", above=2),
            ratio(steps, "sigmoid", "ReLU", above=2),
        ],
        "figure": "curves",
        "caveats": "All have the same rate; the paper chose the best for each. At "
        "first the full size had 12 epochs. That could not decide, as ReLU needs more "
        "than half of them, so all runs were made longer. The rule stayed as it was. "
        "With two seeds the full size ran twice, on two commits. Once the claim held "
        "(over 2.17, at least 2.12), and once it was not decided (over 2.11, at least "
        "1.78). Two seeds were too few, so it has three.",
    }
