"""The classical convolutional networks, exactly as their papers describe them."""

__version__ = "0.2.0"
