"""GoogLeNet by BVLC's solver.prototxt: the paper's "4% every 8 epochs", 250 epochs."""

from configs import googlenet


def get_config(data: str = "imagenet2012"):
    """Returns the recipe; ``data`` is what follows the colon."""
    return googlenet.get_config(data, is_slow=True)
