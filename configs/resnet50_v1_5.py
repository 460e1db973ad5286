"""ResNet-50 v1.5, torchvision's resnet50, with its reference recipe (V1).

references/classification: 90 epochs, batch 256, learning rate 0.1, divided by 10 every
30 epochs, weight decay 1e-4 on all parameters.
"""

from configs import base


def get_config(data: str = "imagenet2012", name: str = "resnet50_v1_5"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = name
    config.model.fields.batch_norm = True
    config.model.fields.zero_last_scale = False  # torchvision: the default
    config.batch_size = 256  # 8 GPUs, 32 each
    config.epochs = 90.0
    config.optim.learning_rate = 0.1
    config.optim.schedule = "step"
    config.optim.milestones = (30.0, 60.0)
    config.optim.factor = 0.1
    config.optim.momentum = 0.9
    config.optim.weight_decay = 1e-4
    config.data.image_size = 224
    config.data.train_crop = "random_resized_crop"
    config.data.flip = True
    config.test.protocol = "one_crop"  # presets.py: the evaluation
    return base.use_data_of_any_size(config, data)
