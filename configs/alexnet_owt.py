"""AlexNet of "one weird trick" (Krizhevsky 2014), as torchvision trains it.

Its reference recipe (references/classification, "AlexNet and VGG"): 90 epochs, batch
256, learning rate 0.01, divided by 10 every 30 epochs.
"""

from configs import base


def get_config(data: str = "imagenet2012", name: str = "alexnet_owt"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = name
    config.model.fields.dropout_rate = 0.5
    has_batch_norm = name.endswith("_bn")  # torchvision trains VGG so, too
    if not has_batch_norm:
        config.model.fields.initial_bias = 1.0  # the network's file; a short run: 0.1
    config.batch_size = 256  # 8 GPUs, 32 each
    config.epochs = 90.0
    config.optim.learning_rate = 0.01  # "--lr 1e-2"
    config.optim.schedule = "step"
    config.optim.milestones = (30.0, 60.0)
    config.optim.factor = 0.1
    config.optim.momentum = 0.9
    config.optim.weight_decay = 1e-4
    config.data.image_size = 224
    config.data.train_crop = "random_resized_crop"
    config.data.flip = True
    config.test.protocol = "one_crop"  # presets.py: the evaluation
    return base.use_data_of_any_size(config, data, scales_rate=has_batch_norm)
