"""ResNet-20 on CIFAR-10 in half an hour on two cores: a short recipe of today.

It learns in one cycle (Smith and Topin 2018, "Super-Convergence") and has two habits of
He, T., et al. 2019, "Bag of Tricks for Image Classification with Convolutional Neural
Networks". ``configs/sweeps/resnet20_fast.py`` found its rate (docs/recipes.md). A
run took 31 minutes on two cores with AVX2. On two cores with AMX, which multiply
bfloat16, --config.epochs=36 takes about as long (estimated).

Deviation: no paper has this recipe; its numbers are ours.
"""

from configs import base


def get_config(data: str = "cifar10"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = "resnet20"
    config.model.fields.shortcut = "A"
    config.model.fields.block = "basic"
    config.model.fields.width = 1.0
    config.model.fields.batch_norm = True
    config.model.fields.zero_last_scale = False
    config.batch_size = 128  # ours, as the paper of ResNet-20
    config.epochs = 12.0  # ours: half an hour
    config.optim.schedule = "one_cycle"
    config.optim.learning_rate = 0.4  # ours
    config.optim.momentum = 0.9
    config.optim.nesterov = True  # "Bag of Tricks", Section 2.1: NAG
    config.optim.weight_decay = 5e-4  # ours
    config.optim.decay = "kernels"  # "Bag of Tricks", Section 3.1: no bias decay
    config.data.image_size = 32
    config.test.protocol = "whole"  # as the paper of ResNet-20
    return base.use_small_images(config, data)
