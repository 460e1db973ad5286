"""ResNet-44 without its shortcuts (He et al. 2015, Section 4.2), with its recipe."""

from configs import resnet20


def get_config(data: str = "cifar10"):
    """Returns the recipe; ``data`` is what follows the colon."""
    return resnet20.get_config(data, "plain44", shortcut="none")
