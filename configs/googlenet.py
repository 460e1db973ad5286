"""GoogLeNet on ImageNet: Szegedy et al. 2014, Section 6.

The paper prints neither batch size nor learning rate. Values marked BVLC are from its
Caffe model and quick_solver.prototxt, with which it published 31.3 and 11.1 %; the
paper's own schedule is in googlenet_slow.py. Deviations: synchronous
steps; the sizes of the photometric distortions are ours, as the paper prints none.
"""

from configs import base


def get_config(data: str = "imagenet2012", *, is_slow: bool = False):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = "googlenet"
    config.model.fields.dropout_rate = 0.4  # Table 1
    config.model.fields.aux_heads = True
    config.model.fields.head = "average"  # Table 1; Section 5: or dense
    config.aux_weight = 0.3  # Section 5: "weighted by 0.3"
    config.batch_size = 32  # BVLC
    config.steps = 2_400_000  # BVLC: max_iter
    config.optim.learning_rate = 0.01  # BVLC
    config.optim.schedule = "polynomial"  # BVLC: lr_policy "poly"
    config.optim.power = 0.5  # BVLC
    if is_slow:
        config.steps = 10_000_000  # solver.prototxt: max_iter
        config.optim.schedule = "exponential"
        config.optim.fall_every = 320_000.0  # stepsize; "every 8 epochs"
        config.optim.factor = 0.96  # "decreasing the learning rate by 4%"
    config.optim.momentum = 0.9  # "0.9 momentum"
    config.optim.momentum_form = "caffe"
    config.optim.bias_rate = 2.0  # BVLC: lr_mult 2 for biases
    config.optim.average = "polyak"  # "Polyak averaging"
    config.optim.weight_decay = 2e-4  # BVLC
    config.optim.decay = "kernels"  # BVLC
    config.data.image_size = 224
    config.data.train_crop = "random_resized_crop"
    config.data.min_area = 0.08  # "evenly between 8% and 100%", aspect 3/4 to 4/3
    config.data.flip = True
    # "photometric distortions by Andrew Howard", and "random interpolation methods
    # (bilinear, area, nearest neighbor and cubic, with equal probability)"
    config.data.brightness = config.data.contrast = config.data.saturation = 0.5
    config.data.pca_noise = 0.1
    config.data.interpolation = "random"
    config.test.protocol = "googlenet_144"  # Section 7
    base.use_data_of_any_size(config, data)
    config.data.std = (1.0,) * config.data.channels  # Section 5: "mean subtraction"
    return config
