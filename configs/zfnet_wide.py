"""ZFNet with 512, 1024, 512 maps in conv3 to conv5: Table 2 (b), and CS231n's ZFNet."""

from configs import zfnet


def get_config(data: str = "imagenet2012"):
    """Returns the recipe; ``data`` is what follows the colon."""
    return zfnet.get_config(data, "zfnet_wide")
