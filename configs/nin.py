"""Network in Network on ImageNet: Lin et al. 2013.

The paper has no experiment on ImageNet. "Solver" is that of its first author's Caffe
model (gist d802a5849de39225bcc6).
"""

from configs import base


def get_config(data: str = "imagenet2012"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = "nin"
    config.model.fields.dropout_rate = 0.5  # the authors' Caffe model
    config.batch_size = 64  # the model's data layer
    config.steps = 450_000  # solver: max_iter
    config.optim.learning_rate = 0.01  # solver: base_lr
    config.optim.schedule = "step"
    config.optim.milestones = (200_000, 400_000)  # solver: stepsize
    config.optim.factor = 0.1  # solver: gamma
    config.optim.momentum = 0.9  # solver
    config.optim.momentum_form = "caffe"
    config.optim.weight_decay = 5e-4  # solver
    config.optim.decay = "kernels"  # the model: decay_mult 0 for biases
    config.optim.bias_rate = 2.0  # the model: lr_mult 2 for biases
    config.data.image_size = 224
    config.data.train_crop = "scale_jitter_crop"
    config.data.scale_min = 256
    config.data.scale_max = 256
    config.data.flip = True
    config.test.protocol = "one_crop"  # the model's test layer: Caffe crops the centre
    base.use_data_of_any_size(config, data)
    config.data.std = (1.0,) * config.data.channels
    return config
