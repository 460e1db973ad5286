"""ResNet-34 without its shortcuts (He et al. 2015, Section 4.1), with its recipe."""

from configs import resnet34


def get_config(data: str = "imagenet2012"):
    """Returns the recipe; ``data`` is what follows the colon."""
    return resnet34.get_config(data, "plain34", shortcut="none")
