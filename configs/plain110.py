"""ResNet-110 without its shortcuts (He et al. 2015, Section 4.2), with its recipe."""

from configs import resnet20


def get_config(data: str = "cifar10"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = resnet20.get_config(data, "plain110", shortcut="none")
    config.scan_blocks = True  # compiles in seconds, not in minutes
    return config
