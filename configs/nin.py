"""Network in Network on ImageNet: Lin et al. 2013.

The paper has no experiment on ImageNet, and sets learning rate and weight decay by
hand: values without a source are AlexNet's.
"""

from configs import base


def get_config(data: str = "imagenet2012"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = "nin"
    config.model.fields.dropout_rate = 0.5  # the authors' Caffe model
    config.batch_size = 128  # Section 4.1: "mini-batches of size 128"
    config.epochs = 90.0
    config.optim.learning_rate = 0.01
    config.optim.schedule = "step"
    config.optim.milestones = (40.0, 80.0)  # Section 4.1: twice, "one percent" at last
    config.optim.factor = 0.1  # "lowered by a scale of 10"
    config.optim.momentum = 0.9
    config.optim.weight_decay = 5e-4
    config.optim.decay = "kernels"
    config.data.image_size = 224
    config.data.train_crop = "scale_jitter_crop"
    config.data.scale_min = 256
    config.data.scale_max = 256
    config.data.flip = True
    base.use_data_of_any_size(config, data)
    config.data.std = (1.0,) * config.data.channels
    return config
