"""Ioffe and Szegedy 2015: BatchNorm and the learning rate."""

from configs.experiments.base import CS231N, D2L, difference


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    rates = 0.01, 0.1
    return {
        "claim": "With BatchNorm after each convolution the learning rate can be "
        "higher: at a high rate the network learns with it, and not without.",
        "sources": [
            CS231N,
            D2L,
            "Ioffe and Szegedy 2015, Section 4.2.2: 5 times and 30 times the rate",
        ],
        "data": "cifar10",
        "variants": {
            f"{name}, rate {rate:g}": {
                "model.fields.batch_norm": name == "BatchNorm",
                "optim.learning_rate": rate,
            }
            for name in ("BatchNorm", "without")
            for rate in rates
        },
        # The deviation of the images is 1, and not some 60 as with the recipe's mean
        # image: without BatchNorm no rate of these can learn then.
        "settings": {"config": "plain20", "data.normalisation": "channels"},
        "sizes": {
            "minutes": {"seeds": 1, "settings": {"epochs": 0.5}},
            "full": {"seeds": 3, "settings": {"epochs": 4.0}},
        },
        "measures": ["training_error", "test_error"],
        "rule": [
            difference(
                "training_error", "without, rate 0.1", "BatchNorm, rate 0.1", above=10
            ),
            difference(
                "training_error", "BatchNorm, rate 0.1", "without, rate 0.01", below=0
            ),
        ],
        "figure": "curves",
        "caveats": "Two rates only.",
    }
