"""Every setting of a run with its default, and the parts of recipes.

A recipe starts from ``get_config``, sets what its paper says, one source a line, and
ends with ``use_data``. The command line can change any setting:
``--config.optim.learning_rate=0.05``.
"""

import math

from ml_collections import ConfigDict

from configs._data_sets import DATA, FOLDERS, GRAY, MEAN_IMAGES, SMALL_IMAGES


def get_config(data: str = "") -> ConfigDict:  # noqa: PLR0915 - a line a setting
    """Returns every legal setting with its default.

    A key of ``DATA`` makes it a recipe for any network:
    ``--config=configs/base.py:mnist5k --config.model.name=NAME``.
    """
    config = ConfigDict()
    config.seed = 0  # of initial weights, image order and augmentation
    config.batch_size = 128  # images in a step, all devices together
    config.accumulate = 1  # parts of a batch, computed one after another: less memory
    config.epochs = 90.0  # passes over the training images
    # The length in steps; 0: by epochs. If given, optim.milestones and optim.fall_every
    # are in steps too, and optim.warmup_steps replaces optim.warmup_epochs.
    config.steps = 0
    # Epochs without a lower validation error after which the run ends; 0: never.
    config.early_stopping = 0
    config.init_from = ""  # a run, a file, torchvision:NAME, caffe:NAME; "": random
    config.freeze = ()  # names of layers that do not learn, such as "conv*"
    config.freeze_epochs = 0.0  # the first, in which only the head learns
    config.loss = "cross_entropy"  # cross_entropy | binary_cross_entropy
    # In the loss: none | inverse (to each class's training images) | a number for each
    # class, such as 1,2.5. Errors and losses on the screen and in files have none.
    config.class_weights = "none"
    config.label_smoothing = 0.0  # share of the target spread over all classes
    config.aux_weight = 0.3  # of each auxiliary head's loss
    # Of activations: float32 | bfloat16; auto: bfloat16 if the devices multiply it.
    config.precision = "auto"
    config.scan_blocks = False  # a stage's equal blocks as one loop: compiles faster
    config.remat = False  # keep only blocks' inputs, recompute the rest: less memory
    config.batch_norm_statistics = "global"  # over the batch: global | per_device
    # Training images over which BatchNorm's statistics are computed before the test;
    # 0: running averages, as in validation.
    config.batch_norm_images = 0

    config.model = ConfigDict()
    config.model.name = ""  # a key of cnn_arch.models.MODELS
    config.model.fields = ConfigDict()  # of the network's module, set by its recipe

    config.optim = ConfigDict()
    config.optim.learning_rate = 0.1  # after warm-up
    # cosine | step | polynomial | exponential | one_cycle | constant | plateau
    config.optim.schedule = "cosine"
    config.optim.milestones = ()  # step: epochs at which the rate is multiplied
    config.optim.factor = 0.1  # step, exponential, plateau: by this
    config.optim.fall_every = 2.0  # exponential: epochs from one fall to the next
    config.optim.power = 1.0  # polynomial: 1 is a line
    config.optim.patience = 5  # plateau: epochs without a lower validation error
    config.optim.threshold = 1e-4  # plateau: a lower error is lower by this share
    config.optim.cooldown = 0  # plateau: epochs to wait after a fall
    config.optim.min_rate = 0.0  # the lowest rate, of all schedules after the warm-up
    config.optim.warmup_epochs = 0.0  # linear, from zero; one_cycle: the rise, 0: 30 %
    config.optim.warmup_steps = 0  # instead, in a run whose length is in steps
    # The rate is at most start_rate until a batch's training error is below
    # start_error percent; 0: from the start as scheduled.
    config.optim.start_error = 0.0
    config.optim.start_rate = 0.01
    config.optim.name = "sgd"  # sgd | rmsprop | adamw | lamb
    config.optim.momentum = 0.9  # adamw, lamb: decay of the first moment
    # Where the rate multiplies: "pytorch", after momentum; "caffe", before it (also
    # cuda-convnet, TensorFlow). The forms differ only when the rate changes.
    config.optim.momentum_form = "pytorch"
    config.optim.nesterov = False
    config.optim.beta2 = 0.999  # rmsprop, adamw, lamb: decay of the mean square
    config.optim.epsilon = 1e-8
    config.optim.epsilon_in_root = True  # rmsprop: as in TensorFlow; false: PyTorch's
    config.optim.weight_decay = 0.0
    config.optim.decay = "all"  # parameters that decay: all | kernels
    config.optim.decay_form = "coupled"  # in the gradient (L2) | decoupled
    config.optim.bias_rate = 1.0  # times the rate for biases; Caffe's files: 2
    config.optim.body_rate = 1.0  # times the rate for all layers but the head
    config.optim.clip_norm = 0.0  # longest gradient, before decay; 0: any length
    config.optim.clip_value = 0.0  # largest element of a gradient; 0: any
    config.optim.filter_radius = 0.0  # largest root mean square of a filter; 0: any
    config.optim.average = "none"  # of the parameters after each step: none|ema|polyak
    config.optim.average_decay = 0.9999  # ema: from step to step

    config.data = ConfigDict()
    config.data.source = "folder"  # folder | tfds | mnist5k | mnist | fashion_mnist
    config.data.name = ""  # name on screen; for tfds, the builder's name
    config.data.dir = ""  # of images, records or idx files; tfds: data_dir; "": default
    config.data.image_size = 224  # side of the network's square input, px
    config.data.channels = 3  # 1 (gray) | 3
    config.data.num_classes = 0  # 0: as many as the data has
    config.data.test_split = "test"  # the source's split for the final test
    config.data.validation_fraction = 0.1  # of train, if there is no such split
    config.data.in_memory = False  # decode all images once; for small images
    config.data.sampling = "shuffle"  # shuffle | balanced: all classes equally often
    config.data.repeats = 1  # a batch has each image so often, each augmented anew
    config.data.fit = "resize"  # small images to image_size: resize | pad
    # pad_crop | random_resized_crop | scale_jitter_crop | affine | none
    # square_crop: anywhere in the central square of eval_resize px, as AlexNet's paper
    # ten_crop: its corners or its centre, as ZFNet's
    config.data.train_crop = "random_resized_crop"
    config.data.crop_padding = 4  # pad_crop: zeros on each side, px
    config.data.min_area = 0.08  # random_resized_crop: smallest share of the image
    # Scales and eval_resize follow image_size: 0 is 256, 480 and 256 px for 224 px (He
    # et al. 2015, Section 3.4). A recipe's own value keeps its ratio to the recipe's
    # image_size when the command line changes that.
    config.data.scale_min = 0  # scale_jitter_crop: shorter side, px
    config.data.scale_max = 0
    config.data.flip = True  # left-right, half of the images
    # Of crops: bilinear | random (also area, nearest and cubic, as GoogLeNet's paper)
    config.data.interpolation = "bilinear"
    config.data.trivial_augment = False  # one of 14 changes of random strength an image
    config.data.pca_noise = 0.0  # AlexNet's noise of colour: deviation of its weights
    # The deviation of the pixels' colours along each principal axis, then the axes, one
    # after another; (): count them from the training images.
    config.data.pca = ()
    config.data.brightness = 0.0  # largest change, a share: 0.5 is 0.5 to 1.5 times
    config.data.contrast = 0.0
    config.data.saturation = 0.0
    config.data.hue = 0.0  # largest change, a share of the circle of colours
    config.data.erasing = 0.0  # share of images in which a random box is erased
    config.data.mixup = 0.0  # alpha: images are mixed with others; 0: no
    config.data.cutmix = 0.0  # alpha: boxes of other images are pasted; 0: no
    config.data.eval_resize = 0  # evaluation: shorter side before the centre crop, px
    config.data.eval_size = 0  # evaluation: side of the crop, px; 0: image_size
    # Subtracted, of 0..255, here ImageNet's; (), also of std: count them from the
    # training images.
    config.data.mean = (123.675, 116.28, 103.53)
    config.data.std = (58.395, 57.12, 57.375)  # divided by (torchvision references)
    # channels (mean and std) | mean_image (each pixel's mean) | gcn_zca (contrast
    # normalisation and whitening)
    config.data.normalisation = "channels"
    config.data.arrays = ""  # checksum of those in the run's directory; "": count them
    # shown: as a viewer shows a file, turned by its Exif orientation, and transparent
    # parts on white | stored: as the file has them
    config.data.pixels = "shown"
    config.data.skip_broken = False  # a broken image: stop, or skip it and count
    config.data.num_threads = 0  # that decode images; 0: one for each usable core
    # JPEG files of training images are decoded at 1/2, 1/4 or 1/8 of their size where
    # this leaves their shorter side so many px; 0: at their own.
    config.data.decode_side = 0
    # Decoded training images stay in memory, if they fit into this share of the free.
    config.data.keep_decoded = 0.25

    config.mesh = ConfigDict()
    config.mesh.data = 0  # parts of a batch; 0: as many as the devices allow
    # Devices that share a network and a part of the batch. They divide the features of
    # AlexNet's groups, or of the dense layers of alexnet_owt and VGG.
    config.mesh.model = 1

    config.test = ConfigDict()
    # The test of the recipe's paper, after the test on one crop; none: only that.
    # one_crop | ten_crop | multi_crop | twelve_crop | googlenet_144 | whole | dense |
    # multi_scale: see docs/evaluation.md
    config.test.protocol = "none"
    # Shorter sides of the resized images, px; (): the protocol's. A recipe's keep their
    # ratio to its image_size.
    config.test.scales = ()
    config.test.combine = "softmax"  # of which the mean is taken: softmax | logits

    config.log = ConfigDict()
    # The norm of the gradient of each layer's weights: layer_gradients.csv, TensorBoard
    config.log.layer_gradients = False

    config.checkpoint = ConfigDict()
    config.checkpoint.every_minutes = 10.0  # and after every epoch
    return use_data(config, data) if data else config


def subtract_mean_image(config: ConfigDict, data: str) -> None:
    """Subtracts the mean of each pixel, if the data is ImageNet or CIFAR.

    Other data keeps the mean of each channel, which weights of other programs expect.
    """
    if data in MEAN_IMAGES:
        config.data.normalisation = "mean_image"


SCALES = ("scale_min", "scale_max")


def use_data_of_any_size(
    config: ConfigDict, data: str, *, scales_rate: bool = True
) -> ConfigDict:
    """Sets the data of a recipe for ImageNet, and shortens it for smaller data sets.

    Small images are enlarged to 96 px, as in "Dive into Deep Learning". The learning
    rate falls at the same shares of the run. It is proportional to the batch size
    (Goyal et al. 2017, "Accurate, Large Minibatch SGD", Section 2.1) if ``scales_rate``
    says so. With such a rate, AlexNet had a validation error of 61 % after 12 epochs of
    3,068 photographs, and of 35 % with its own, 0.01. This is also the rate of
    GoogLeNet's solver, with batches of 32.
    """
    if data in (*SMALL_IMAGES, "folder"):
        _start_sooner(config.model.fields)
    if data in SMALL_IMAGES:
        epochs = 30.0 if data == "mnist5k" else 10.0  # d2l: 10
        _shorten(config, epochs, 128, scales_rate=scales_rate)  # d2l: 128
        share = 96 / config.data.image_size
        scales = {key: round(share * config.data[key]) for key in SCALES}
        sides = {"image_size": 96, "eval_resize": 96, "eval_size": 0, **scales}
        config.test.protocol, config.test.scales = "whole", ()
        return use_data(config, data, **sides)
    if data == "folder":  # thousands of images, not a million
        _shorten(config, 30.0, 32, scales_rate=scales_rate)
    return use_data(config, data)


def _start_sooner(fields: ConfigDict) -> None:
    """Replaces the initial values with which a short run ends before it has learnt.

    Caffe's AlexNet has biases of 0.1, "as initialization to 1 gave flat loss"
    (models/bvlc_alexnet/readme.md). VGG's paper says that Glorot's initialisation works
    without pre-training (Section 3.1).
    """
    if "initial_bias" in fields:
        fields.initial_bias = 0.1
    if "initialisation" in fields:
        fields.initialisation = "glorot"


def use_small_images(config: ConfigDict, data: str) -> ConfigDict:
    """Sets the data of a recipe for images of 28 or 32 px; resizes other images.

    A user's own images may look like CIFAR's or like digits, so their mean and
    deviation are counted.
    """
    size = config.data.image_size
    if data in GRAY and config.epochs > 30:
        _shorten(config, 30.0)  # simple gray images need fewer epochs
    if data in FOLDERS:
        config.data.mean = config.data.std = ()
        return use_data(config, data, in_memory=True, train_crop="pad_crop")
    return use_data(config, data, image_size=size)


def _shorten(
    config: ConfigDict,
    epochs: float,
    batch_size: int | None = None,
    *,
    scales_rate: bool = True,
) -> None:
    """Sets the length, in epochs, and the largest size of a batch."""
    optim, share = config.optim, epochs / (config.steps or config.epochs)
    optim.milestones = tuple(round(share * place, 2) for place in optim.milestones)
    if optim.schedule == "exponential":
        optim.fall_every = round(share * optim.fall_every, 4)
    if optim.schedule == "plateau":
        _replace_plateau(optim, epochs)
    # Of a few thousand steps, an average would mostly have those before it learnt.
    optim.average = "none"
    if config.steps:
        optim.warmup_epochs = optim.warmup_steps
    optim.warmup_epochs = round(share * optim.warmup_epochs, 4)
    config.epochs, config.steps, optim.warmup_steps = epochs, 0, 0
    if batch_size and batch_size < config.batch_size:
        if scales_rate:
            optim.learning_rate *= batch_size / config.batch_size
            optim.min_rate *= batch_size / config.batch_size
        config.batch_size = batch_size


def _replace_plateau(optim: ConfigDict, epochs: float) -> None:
    """Lets the rate fall as often as on a plateau, but after equal parts of the run.

    An epoch of a small set has a hundred steps, not ten thousand. A network needs more
    than a few such epochs before its error falls at all, and the error on hundreds of
    images is not precise. A plateau would come at once. Without a lowest rate, the rate
    falls three times (AlexNet's paper, Section 5).
    """
    falls = 3
    if optim.min_rate:
        falls = round(math.log(optim.min_rate / optim.learning_rate, optim.factor))
    places = (epochs * part / (falls + 1) for part in range(1, falls + 1))
    optim.milestones = tuple(round(place, 2) for place in places)
    optim.schedule, optim.min_rate = "step", 0.0


def use_data(config: ConfigDict, data: str, **adjusted) -> ConfigDict:
    """Sets the data of a recipe in place, and returns the recipe, locked.

    Args:
      config: the recipe.
      data: a key of ``DATA``.
      **adjusted: fields of ``config.data`` in which this recipe differs from ``DATA``.

    Raises:
      ValueError: there is no such data set.
    """
    if data not in DATA:
        raise ValueError(f":{data}: no such data set; there are {', '.join(DATA)}")
    config.data.update(DATA[data] | adjusted)
    return config.lock()
