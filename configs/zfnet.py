"""ZFNet on ImageNet: Zeiler and Fergus 2013, Section 3.1.

Deviations: the learning rate falls at fixed epochs (the paper: "annealed ... manually
when the validation error plateaus"). Crops come from the whole image of shorter side
256; the paper takes ten fixed ones from its central square. The mean of each channel is
subtracted, not of each pixel. Filters are not renormalised yet.
"""

from configs import base


def get_config(data: str = "imagenet2012", name: str = "zfnet"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = name
    config.model.fields.dropout_rate = 0.5  # Section 3.1
    config.batch_size = 128  # "a mini-batch size of 128"
    config.epochs = 70.0  # "stopped training after 70 epochs"
    config.optim.learning_rate = 0.01  # "starting with a learning rate of 10^-2"
    config.optim.schedule = "step"
    config.optim.milestones = (17.5, 35.0, 52.5)  # ours: evenly
    config.optim.factor = 0.1  # ours, AlexNet's
    config.optim.momentum = 0.9  # "a momentum term of 0.9"
    config.optim.weight_decay = 5e-4  # AlexNet's; the paper names none
    config.optim.decay = "kernels"  # as AlexNet's
    config.data.image_size = 224
    config.data.train_crop = "scale_jitter_crop"
    config.data.scale_min = 256  # "resizing the smallest dimension to 256"
    config.data.scale_max = 256
    config.data.flip = True  # "with(out) horizontal flips"
    base.use_data_of_any_size(config, data)
    config.data.std = (1.0,) * config.data.channels  # the mean alone is subtracted
    return config
