"""ResNet-1202 on CIFAR-10 (He et al. 2015, Section 4.2), with ResNet-20's recipe.

It starts as ResNet-110 does; the paper says of that network alone how it starts.
"""

from configs import resnet20


def get_config(data: str = "cifar10"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = resnet20.get_config(data, "resnet1202")
    config.optim.start_error = 80.0  # percent of a batch, as in resnet110.py
    config.optim.start_rate = 0.01
    config.scan_blocks = True  # compiles in seconds, not in minutes
    config.remat = True  # without it, a step keeps 17 GiB
    return config
