"""He et al. 2015, Section 4.1, and the gradients of deep plain networks."""

from configs.experiments.base import CS231N, D2L, EECS498, ratio, recipes

NETWORKS = "plain20", "plain56", "plain110", "resnet20", "resnet56", "resnet110"
WITHOUT = {  # a residual network without BatchNorm diverges at the paper's rate
    "model.fields.batch_norm": False,
    "optim.learning_rate": 0.001,
    "optim.clip_norm": 1.0,
}
VARIANTS = {
    **recipes(*NETWORKS),
    **{f"{name} without BatchNorm": {"config": name, **WITHOUT} for name in NETWORKS},
}


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    start = "gradient_ratio:first_step"
    end = "gradient_ratio:last_epoch"
    return {
        "claim": "Gradients vanish through deep plain networks and not through "
        "residual ones (here: from 20 to 56 layers, the first layer's gradient becomes "
        "less than half as large beside the last layer's; with shortcuts it does not).",
        "sources": [
            CS231N,
            EECS498,
            D2L,
            "He et al. 2015, Section 4.1, does not agree for plain networks with "
            'BatchNorm: "neither forward nor backward signals vanish"',
            "Yang et al. 2019, abstract, does not agree either: in networks with "
            'BatchNorm and without shortcuts "gradient signals grow exponentially in '
            'depth"',
        ],
        "data": "cifar10",
        "variants": VARIANTS,
        "settings": {
            "data.normalisation": "mean_image",
            "log.layer_gradients": True,
        },
        "sizes": {
            "minutes": {
                "seeds": 2,
                "settings": {"epochs": 0.05},
                "variants": [name for name in VARIANTS if "110" not in name],
            },
            "full": {"seeds": 3, "settings": {"epochs": 0.1}},
        },
        "measures": [start, end, "training_error"],
        "rule": [
            ratio(start, "plain56", "plain20", below=0.5),
            ratio(start, "resnet56", "resnet20", above=0.5),
        ],
        "series": ["layer_gradients:first_step", "layer_gradients:last_epoch"],
        "figure": "layers",
        "caveats": "The rule compares networks as the lectures and the paper have "
        "them, with BatchNorm, in the first step. Those without it have a hundredth "
        "of the rate, and gradients of norm 1 at most. The networks of 110 layers are "
        "shown beside the rule.",
    }
