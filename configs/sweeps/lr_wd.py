"""Learning rate against weight decay, around the values of the recipes for CIFAR-10.

He et al. 2015, "Deep Residual Learning", Section 4.2, takes 0.1 and 1e-4.
"""

from configs.sweeps.base import grid, log_uniform


def get_sweep():
    """Returns the settings of each trial."""
    rates, decays = [0.03, 0.1, 0.3], [1e-4, 5e-4]
    return grid({"optim.learning_rate": rates, "optim.weight_decay": decays})


def get_space():
    """Returns the ranges for --search=tpe."""
    return {
        "optim.learning_rate": log_uniform(0.01, 1.0),
        "optim.weight_decay": log_uniform(1e-5, 1e-3),
    }
