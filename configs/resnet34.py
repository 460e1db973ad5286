"""ResNet-34 on ImageNet: He et al. 2015, "Deep Residual Learning", Section 3.4.

Deviations: the learning rate falls at fixed epochs (the authors watched the error).
Images are normalised by each channel's mean and deviation, while the paper subtracts
each pixel's mean. No colour augmentation.
"""

from configs import base


def get_config(data: str = "imagenet2012", name: str = "resnet34", shortcut: str = "B"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = name
    config.model.fields.shortcut = shortcut  # Table 3: B, for 34 layers 24.52 % top-1
    config.batch_size = 256  # "a mini-batch size of 256"
    config.epochs = 120.0  # "up to 60 x 10^4 iterations": 119.9 epochs
    config.optim.learning_rate = 0.1  # "starts from 0.1"
    config.optim.schedule = "step"
    config.optim.milestones = (30.0, 60.0, 90.0)  # "when it plateaus": torchvision's
    config.optim.factor = 0.1  # "divided by 10"
    config.optim.momentum = 0.9
    config.optim.weight_decay = 1e-4
    config.data.image_size = 224  # "a 224x224 crop is randomly sampled"
    config.data.train_crop = "scale_jitter_crop"  # "for scale augmentation"
    config.data.scale_min = 256  # "shorter side randomly sampled in [256, 480]"
    config.data.scale_max = 480
    config.data.flip = True  # "or its horizontal flip"
    return base.use_data_of_any_size(config, data)
