"""ResNet-110 on CIFAR-10 (He et al. 2015, Section 4.2), with ResNet-20's recipe.

Deviation: the rate rises from zero in the first epoch. The paper keeps it at 0.01
"until the training error is below 80% (about 400 iterations)", 1.1 epochs.
"""

from configs import resnet20


def get_config(data: str = "cifar10"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = resnet20.get_config(data, "resnet110")
    config.optim.warmup_epochs = 1.0
    config.scan_blocks = True  # compiles in seconds, not in minutes
    return config
