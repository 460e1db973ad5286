"""Krizhevsky et al. 2012, Section 6 and Table 2: the mean of several networks."""

from configs.experiments.base import CS231N, paired_difference


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    one, three, seven = (f"ensemble_error:{number}" for number in (1, 3, 7))
    return {
        "claim": "Averaging networks lowers the error (here: the mean of three has a "
        "lower test error than one, and the mean of seven a lower one than three).",
        "sources": [
            CS231N,
            "Krizhevsky et al. 2012, Section 6 and Table 2: top-5 errors of 18.2 % (1 "
            "network), 16.4 % (5) and 15.4 % (7, two of them trained on more data)",
            "Szegedy et al. 2014, Table 3: top-5 errors of 10.07 % (1 network, 1 crop) "
            "and 8.09 % (7)",
        ],
        "data": "cifar10",
        "variants": {"cuda_convnet": {}},
        "settings": {
            "config": "cuda_convnet",
            "data.normalisation": "mean_image",
            "test.protocol": "none",
        },
        # A group has seven seeds. Ensembles of one group share networks, so a group is
        # a single number in an interval, and no network is in two groups.
        "group": 7,
        "sizes": {
            "minutes": {"seeds": 14, "settings": {"epochs": 0.3}},
            "full": {"seeds": 21, "settings": {"epochs": 1.0}},
        },
        "measures": [one, three, "ensemble_error:5", seven],
        "rule": [
            paired_difference(three, one, "cuda_convnet", below=0),
            paired_difference(seven, three, "cuda_convnet", below=0),
        ],
        "figure": "against",
        "caveats": "All networks are of one recipe and differ in their seed; two of "
        "the paper's seven were also trained on other data. An error is the mean over "
        "all choices of so many of a group's seven networks.",
    }
