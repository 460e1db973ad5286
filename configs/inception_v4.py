"""Inception-v4 on ImageNet: Szegedy et al. 2016, Section 4: Inception-v3's recipe."""

from configs import inception_v3


def get_config(data: str = "imagenet2012"):
    """Returns the recipe; ``data`` is what follows the colon."""
    return inception_v3.get_config(data, "inception_v4")
