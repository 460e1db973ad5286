"""ResNet-20 on CIFAR-10: He et al. 2015, "Deep Residual Learning", Section 4.2.

Deviations: an epoch has the 351 whole batches of 45,000 images. Images that are not
CIFAR's are normalised by each channel's mean and deviation.
"""

from configs import base


def get_config(data: str = "cifar10", name: str = "resnet20", shortcut: str = "A"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = name
    config.model.fields.shortcut = shortcut  # "identity shortcuts in all cases"
    config.model.fields.block = "basic"  # "the pairs of 3x3 layers"; or bottleneck
    config.model.fields.width = 1.0  # times 16, 32, 64: "the numbers of filters"
    config.model.fields.batch_norm = True  # Section 4.2: "and BN"
    config.model.fields.zero_last_scale = False
    config.batch_size = 128  # "a mini-batch size of 128"
    config.steps = 64_000  # "terminate training at 64k iterations"
    config.optim.learning_rate = 0.1  # "start with a learning rate of 0.1"
    config.optim.schedule = "step"
    config.optim.milestones = (32_000, 48_000)  # "at 32k and 48k iterations"
    if data in base.FOLDERS:  # of any size: as many passes as over CIFAR-10
        config.steps, config.epochs = 0, 182.0
        config.optim.milestones = (91.0, 137.0)
    config.optim.factor = 0.1  # "divide it by 10"
    config.optim.momentum = 0.9
    config.optim.momentum_form = "caffe"  # as the authors' program
    config.optim.weight_decay = 1e-4  # on all parameters, as in the authors' code
    config.data.image_size = 32
    base.subtract_mean_image(config, data)  # "with the per-pixel mean subtracted"
    config.test.protocol = "whole"  # "the single view of the original 32x32 image"
    return base.use_small_images(config, data)
