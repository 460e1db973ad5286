"""Rate, decay, batch size and label smoothing of the short recipe of ResNet-20.

``python sweep.py --config=resnet20_fast --sweep=resnet20_fast`` tries each combination.
"""

from configs.sweeps.base import grid, log_uniform


def get_sweep():
    """Returns the settings of each trial."""
    return grid(
        {
            "optim.learning_rate": [0.1, 0.2, 0.4],
            "optim.weight_decay": [2e-4, 5e-4],
            "batch_size": [128, 256],
            "label_smoothing": [0.0, 0.1],
        }
    )


def get_space():
    """Returns the choices and ranges for --search=tpe."""
    return {
        "optim.learning_rate": log_uniform(0.05, 1.0),
        "optim.weight_decay": log_uniform(1e-4, 2e-3),
        "batch_size": [64, 128, 256],
        "label_smoothing": [0.0, 0.05, 0.1],
    }
