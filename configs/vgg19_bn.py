"""torchvision's vgg19_bn, with its reference recipe, that of ``alexnet_owt``."""

from configs import alexnet_owt


def get_config(data: str = "imagenet2012"):
    """Returns the recipe; ``data`` is what follows the colon."""
    return alexnet_owt.get_config(data, "vgg19_bn")
