"""ResNet-110 on CIFAR-10 (He et al. 2015, Section 4.2), with ResNet-20's recipe.

Deviation: the training error that ends the start is that of one batch.
"""

from configs import resnet20


def get_config(data: str = "cifar10"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = resnet20.get_config(data, "resnet110")
    config.optim.start_error = 80.0  # "until the training error is below 80%"
    config.optim.start_rate = 0.01  # "0.01 to warm up the training"
    config.scan_blocks = True  # compiles in seconds, not in minutes
    return config
