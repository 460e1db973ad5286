"""The modern LeNet on handwritten digits, as "Dive into Deep Learning" trains it.

Section 7.6: plain SGD, learning rate 0.1, batch 128, 10 epochs of 60,000 images.
Deviations: momentum and a falling rate for the few digits of ``mnist5k``; a part of the
training images chooses the checkpoint.
"""

from configs import base


def get_config(data: str = "mnist5k"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = "lenet"
    config.precision = "float32"  # a step takes milliseconds in either
    config.batch_size = 128  # Section 7.6
    config.epochs = 10.0  # Section 7.6
    config.optim.learning_rate = 0.1  # Section 7.6
    config.optim.schedule = "constant"
    config.optim.momentum = 0.0  # Section 7.6
    config.data.image_size = 28
    config.test.protocol = "whole"  # d2l: the whole image
    if data == "mnist5k":
        config.epochs = 120.0  # ours: 3,500 digits
        config.optim.schedule = "cosine"  # ours
        config.optim.momentum = 0.9  # ours
    return base.use_small_images(config, data)
