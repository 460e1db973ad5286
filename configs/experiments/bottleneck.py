"""Szegedy et al. 2015, Figure 2, and He et al. 2015, Figure 5: 1x1 bottlenecks."""

from configs.experiments.base import CS231N, EECS498, HALF_SIDE, difference, ratio


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    naive = {"config": "inception_cifar", "model.fields.module": "naive"}
    return {
        "claim": "1x1 bottlenecks cut most of the operations of an inception module at "
        "little loss (here: more than half of the multiply-adds for less than 2 points "
        "of error), and at equal multiply-adds a network with them is better.",
        "sources": [
            CS231N,
            EECS498,
            "Szegedy et al. 2015, Section 4 and Figure 2",
            "He et al. 2015, Section 4.1 and Figure 5: both blocks have similar cost",
        ],
        "data": "cifar10",
        "variants": {
            "bottleneck": {"config": "inception_cifar"},
            "naive": {**naive, "model.fields.width": 0.5},
            "naive, equal MACs": {**naive, "model.fields.width": 0.22},
            "basic blocks": {"config": "resnet20"},
            "bottleneck blocks": {
                "config": "resnet20",
                "model.fields.block": "bottleneck",
            },
        },
        "settings": {"data.normalisation": "mean_image"},
        "sizes": {
            "minutes": {
                "seeds": 1,
                "settings": {"epochs": 0.5},
                "variants": ["bottleneck", "naive, equal MACs"],
            },
            "full": {"seeds": 3, "settings": {"epochs": 2.0, **HALF_SIDE}},
        },
        "measures": ["test_error", "macs", "parameters"],
        "rule": [
            ratio("macs", "naive", "bottleneck", above=2),
            difference("test_error", "bottleneck", "naive", below=2),
            difference("test_error", "naive, equal MACs", "bottleneck", above=0),
        ],
        "figure": "dots",
        "caveats": "The networks for 32 px are ours, with modules of the papers. After "
        "so few epochs an error also shows how fast a network learns. The residual "
        "blocks are shown beside them and are not in the rule.",
    }
