"""GoogLeNet on ImageNet: Szegedy et al. 2014, Section 6.

The paper prints neither batch size nor learning rate: values marked BVLC are from its
Caffe model. Deviations: synchronous steps; no photometric distortions and no averaging
of the parameters yet.
"""

from configs import base


def get_config(data: str = "imagenet2012"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = "googlenet"
    config.model.fields.dropout_rate = 0.4  # Table 1
    config.model.fields.aux_heads = True
    config.aux_weight = 0.3  # Section 5: "weighted by 0.3"
    config.batch_size = 32  # BVLC
    config.epochs = 60.0  # BVLC: 2.4 million iterations
    config.optim.learning_rate = 0.01  # BVLC
    config.optim.schedule = "step"
    config.optim.milestones = tuple(8.0 * i for i in range(1, 8))  # "every 8 epochs"
    config.optim.factor = 0.96  # "decreasing the learning rate by 4%"
    config.optim.momentum = 0.9  # "0.9 momentum"
    config.optim.weight_decay = 2e-4  # BVLC
    config.optim.decay = "kernels"  # BVLC
    config.data.image_size = 224
    config.data.train_crop = "random_resized_crop"
    config.data.min_area = 0.08  # "evenly between 8% and 100%", aspect 3/4 to 4/3
    config.data.flip = True
    base.use_data_of_any_size(config, data)
    config.data.std = (1.0,) * config.data.channels  # Section 5: "mean subtraction"
    return config
