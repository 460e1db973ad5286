"""AlexNet without groups, as in CS231n's table, with AlexNet's recipe."""

from configs import alexnet


def get_config(data: str = "imagenet2012"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = alexnet.get_config(data, "alexnet_one_tower")
    config.model.fields.groups = 1
    return config
