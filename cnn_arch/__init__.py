"""The classical convolutional networks, exactly as their papers describe them."""
