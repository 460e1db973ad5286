"""Rate and batch size of the short recipe of ResNet-20.

Add ``--config.epochs=1.5`` to ``python sweep.py --config=resnet20_fast
--sweep=resnet20_fast`` for short trials.
"""

from configs.sweeps.base import grid, log_uniform


def get_sweep():
    """Returns the settings of each trial."""
    return grid({"batch_size": [64, 128], "optim.learning_rate": [0.1, 0.2, 0.4]})


def get_space():
    """Returns the choices and ranges for --search=tpe."""
    return {
        "optim.learning_rate": log_uniform(0.05, 1.0),
        "optim.weight_decay": log_uniform(1e-4, 2e-3),
        "batch_size": [64, 128, 256],
        "label_smoothing": [0.0, 0.05, 0.1],
    }
