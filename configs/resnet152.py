"""ResNet-152 on ImageNet (He et al. 2015), with ResNet-34's recipe."""

from configs import resnet34


def get_config(data: str = "imagenet2012"):
    """Returns the recipe; ``data`` is what follows the colon."""
    return resnet34.get_config(data, "resnet152")
