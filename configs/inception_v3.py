"""Inception-v3 on ImageNet: Szegedy et al. 2015, Section 8.

Deviations: the batch of one replica, while the paper ran 50 in parallel and each
updated the parameters by itself.
"""

from configs import base


def get_config(data: str = "imagenet2012", name: str = "inception_v3"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = name
    # TF-Slim, inception_v3.py and inception_v4.py: dropout_keep_prob=0.8.
    config.model.fields.dropout_rate = 0.2
    # Heads need 299 px: their 5x5 convolution spans a whole 5x5 map.
    config.model.fields.aux_heads = data in ("imagenet2012", *base.FOLDERS)
    if name == "inception_v4":
        config.model.fields.tf_slim = False  # the figures' order, not the code's
    config.aux_weight = 0.4  # TF-Slim, train_image_classifier.py: weights=0.4
    config.label_smoothing = 0.1  # Section 7
    config.batch_size = 32  # "with batch size 32"
    config.epochs = 100.0  # "for 100 epochs"
    config.optim.learning_rate = 0.045  # "a learning rate of 0.045"
    config.optim.schedule = "exponential"
    config.optim.fall_every = 2.0  # "decayed every two epoch"
    config.optim.factor = 0.94  # "an exponential rate of 0.94"
    config.optim.name = "rmsprop"  # "RMSProp with decay of 0.9 and epsilon = 1.0"
    config.optim.beta2 = 0.9
    config.optim.epsilon = 1.0
    config.optim.momentum = 0.9  # "momentum with a decay of 0.9"
    config.optim.momentum_form = "caffe"  # TensorFlow's
    if name == "inception_v3":
        config.optim.clip_norm = 2.0  # "gradient clipping with threshold 2.0"
    # "a running average of the parameters computed over time"
    config.optim.average = "ema"
    config.optim.average_decay = 0.9999  # TF-Slim: moving_average_decay
    config.optim.weight_decay = 4e-5  # TF-Slim; the paper names none
    config.optim.decay = "kernels"  # TF-Slim
    config.data.image_size = 299
    config.data.train_crop = "random_resized_crop"  # as GoogLeNet
    config.data.flip = True
    config.data.eval_resize = 342  # a crop of 0.875 of the image (TF-Slim)
    config.test.protocol = "twelve_crop"  # Table 4; not defined: see data/boxes.py
    base.use_data_of_any_size(config, data)
    config.data.mean = (127.5,) * config.data.channels  # TF-Slim: to [-1, 1]
    config.data.std = (127.5,) * config.data.channels
    return config
