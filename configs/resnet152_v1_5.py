"""ResNet-152 v1.5, torchvision's resnet152, with the recipe of ``resnet50_v1_5``."""

from configs import resnet50_v1_5


def get_config(data: str = "imagenet2012"):
    """Returns the recipe; ``data`` is what follows the colon."""
    return resnet50_v1_5.get_config(data, "resnet152_v1_5")
