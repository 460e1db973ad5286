"""ResNet-34 on ImageNet: He et al. 2015, "Deep Residual Learning", Section 3.4.

Deviations: the learning rate falls at fixed epochs (the authors watched the error); a
mean for each channel is subtracted, not one for each pixel; AlexNet's colour
augmentation is left out.
"""

from configs import base


def get_config(data: str = "imagenet2012"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = "resnet34"
    config.model.fields.shortcut = "B"  # Table 3: 24.52 % top-1, 7.46 % top-5 error
    config.batch_size = 256  # "a mini-batch size of 256"
    config.epochs = 120.0  # "up to 60 x 10^4 iterations": 119.9 epochs
    config.optim.learning_rate = 0.1  # "starts from 0.1"
    config.optim.schedule = "step"
    config.optim.milestones = (30.0, 60.0, 90.0)  # torchvision's for "when it plateaus"
    config.optim.factor = 0.1  # "divided by 10"
    config.optim.momentum = 0.9
    config.optim.weight_decay = 1e-4
    config.data.image_size = 224  # "a 224x224 crop is randomly sampled"
    config.data.train_crop = "scale_jitter_crop"  # "for scale augmentation"
    config.data.scale_min = 256  # "shorter side randomly sampled in [256, 480]"
    config.data.scale_max = 480
    config.data.flip = True  # "or its horizontal flip"
    if data in ("mnist5k", "fashion_mnist", "cifar10"):
        config.batch_size = 128  # d2l's for ResNet-18 on Fashion-MNIST
        config.epochs = 10.0  # d2l's
        config.optim.milestones = (5.0, 8.0)  # the same shares of the run
        return base.use_data(config, data, image_size=96)  # d2l resizes to 96
    if data == "folder":
        config.batch_size = 32  # ours: thousands of images, not a million
        config.epochs = 30.0  # ours
        config.optim.learning_rate = 0.0125  # in proportion to the batch
        config.optim.milestones = (15.0, 23.0)  # the same shares of the run
    return base.use_data(config, data)
