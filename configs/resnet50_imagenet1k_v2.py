"""ResNet-50 v1.5 as torchvision trained its weights IMAGENET1K_V2: 80.86 % right.

The command is in github.com/pytorch/vision/issues/3995 (16 January 2022); what it does
not set has the default of references/classification/train.py. Pull request 5201 has the
accuracy, with a crop of 224 px. V. Vryniotis, "How to Train State-Of-The-Art Models
Using TorchVision's Latest Primitives", describes the way there.

Deviations: the rate changes after each step, not each epoch, and the warm-up begins at
0, not at a hundredth of the rate. A batch draws one way and one share of mixing, where
each of 8 GPUs drew its own. BatchNorm sees the whole batch, not a GPU's 128 images
(--config.batch_norm_statistics=per_device on 8 devices). The bias of the last layer
does not decay. The average takes in every step, not each 32nd, from the start, not from
the end of the warm-up; and it is of the parameters, while torchvision's is also of
BatchNorm's statistics.
"""

from configs import base

GPUS = 8  # references/classification/README: "8x V100 GPUs"


def get_config(data: str = "imagenet2012"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = base.get_config()
    config.model.name = "resnet50_v1_5"  # "--model resnet50"
    config.model.fields.batch_norm = True
    config.model.fields.zero_last_scale = False  # the default
    config.batch_size = GPUS * 128  # "--batch-size 128"
    config.epochs = 600.0  # "--epochs 600"
    config.label_smoothing = 0.1  # "--label-smoothing 0.1"
    config.optim.learning_rate = 0.5  # "--lr 0.5"
    config.optim.schedule = "cosine"  # "--lr-scheduler cosineannealinglr"
    config.optim.warmup_epochs = 5.0  # "--lr-warmup-epochs 5"; "linear"
    config.optim.momentum = 0.9  # train.py: the default
    config.optim.weight_decay = 2e-5  # "--weight-decay 0.00002"
    config.optim.decay = "kernels"  # "--norm-weight-decay 0.0"
    config.optim.average = "ema"  # "--model-ema"
    config.optim.average_decay = average_decay(0.99998, 32, config)
    config.data.image_size = 176  # "--train-crop-size 176"
    config.data.eval_resize = 232  # "--val-resize-size 232"
    config.data.eval_size = 224  # train.py: the default of --val-crop-size
    config.data.train_crop = "random_resized_crop"  # presets.py
    config.data.flip = True  # presets.py
    config.data.repeats = 4  # "--ra-sampler --ra-reps=4"
    config.data.trivial_augment = True  # "--auto-augment ta_wide"
    config.data.erasing = 0.1  # "--random-erase 0.1"
    config.data.mixup = 0.2  # "--mixup-alpha 0.2"
    config.data.cutmix = 1.0  # "--cutmix-alpha 1.0"
    config.test.protocol = "one_crop"  # presets.py: the evaluation
    return base.use_data_of_any_size(config, data)


def average_decay(decay: float, steps: int, config) -> float:
    """Returns the decay a step of train.py's average, which takes in each 32nd step.

    Its ``--model-ema-decay`` is for one update a run: train.py multiplies 1 - decay by
    GPUs x batch x steps / epochs.
    """
    share = (1 - decay) * config.batch_size * steps / config.epochs
    return (1 - share) ** (1 / steps)  # 0.9999658
