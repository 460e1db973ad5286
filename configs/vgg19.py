"""VGG configuration E (Simonyan and Zisserman 2014), with VGG-16's recipe."""

from configs import vgg16


def get_config(data: str = "imagenet2012"):
    """Returns the recipe; ``data`` is what follows the colon."""
    return vgg16.get_config(data, "vgg19")  # Table 3: from 256 to 512
