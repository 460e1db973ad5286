"""VGG-16 on ImageNet: Simonyan and Zisserman 2014, Section 3.1, configuration D.

Deviations: the rate falls after 5 epochs without a lower validation error (the authors
decided by eye); all layers start at random (see the network's file), if --init_from
does not name a trained vgg11.
"""

from configs import base


def get_config(data: str = "imagenet2012", name: str = "vgg16", scale_max: int = 512):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = name
    config.model.fields.dropout_rate = 0.5  # "dropout ratio set to 0.5"
    if scale_max == 256:  # of A; see the network's file. A short run: glorot
        config.model.fields.initialisation = "normal"
    config.batch_size = 256  # "the batch size was set to 256"
    config.epochs = 74.0  # "after 370K iterations (74 epochs)"
    config.optim.learning_rate = 0.01  # "initially set to 10^-2"
    # "when the validation set accuracy stopped improving"
    config.optim.schedule = "plateau"
    config.optim.patience = 5  # epochs; ours: the authors decided by eye
    config.optim.min_rate = 1e-5  # "decreased 3 times"
    config.optim.factor = 0.1  # "by a factor of 10"
    config.optim.momentum = 0.9
    config.optim.momentum_form = "caffe"  # "derived from ... Caffe"
    config.optim.weight_decay = 5e-4  # "the L2 penalty multiplier set to 5 * 10^-4"
    config.optim.decay = "kernels"  # ours: biases do not decay, as in Caffe
    config.data.image_size = 224
    config.data.train_crop = "scale_jitter_crop"
    config.data.scale_min = 256  # "S from a certain range [256, 512]"
    config.data.scale_max = scale_max
    config.data.flip = True  # "random horizontal flipping"
    config.data.pca_noise = 0.1  # "random RGB colour shift", as AlexNet
    config.test.protocol = "dense"  # Section 3.2: "the whole (uncropped) image"
    # Section 4.2: "Q = {S_min, 0.5(S_min + S_max), S_max}"; of a fixed S, "{S - 32, S,
    # S + 32}".
    has_one_scale = scale_max == 256
    config.test.scales = (224, 256, 288) if has_one_scale else (256, 384, 512)
    base.use_data_of_any_size(config, data, scales_rate=False)
    config.data.std = (1.0,) * config.data.channels  # Section 2.1: the mean alone
    return config
