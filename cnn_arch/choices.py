"""Settings that follow from others: chosen by the program, or without effect."""

from collections.abc import Collection, Mapping
from typing import Any

from ml_collections import ConfigDict

from cnn_arch import setting_rules

# Sides in px: what 0 is, in multiples of data.image_size (configs/base.py).
RATIOS = {
    "data.scale_min": 256 / 224,
    "data.scale_max": 480 / 224,
    "data.eval_resize": 256 / 224,
    "data.eval_size": 0,  # 0 stays: it is the image_size
}

# Places in the run, which keep their share of it when its length changes.
SCHEDULE = (
    "optim.milestones", "optim.fall_every", "optim.warmup_epochs", "optim.warmup_steps",
)  # fmt: skip

# A run keeps the choice with which it began, also if it began with an earlier version.
CHOSEN = (
    *RATIOS, "steps", *SCHEDULE, "data.pixels", "data.normalisation", "init_from",
    "precision",
)  # fmt: skip

# Numbers of the training images: one of TO_COUNT is counted when a run begins, and the
# run keeps the result.
TO_COUNT = ((), [], "", "inverse")
COUNTED = ("data.mean", "data.std", "data.pca", "data.arrays", "class_weights")

# What runs of earlier versions did where there was no setting yet.
EARLIER = {
    "accumulate": 1,
    "batch_norm_images": 0,
    "steps": 0,
    "early_stopping": 0,
    "init_from": "",
    "freeze": (),
    "freeze_epochs": 0.0,
    "loss": "cross_entropy",
    "class_weights": "none",
    "optim.name": "sgd",
    "optim.fall_every": 2.0,
    "optim.power": 1.0,
    "optim.warmup_steps": 0,
    "optim.patience": 5,
    "optim.threshold": 1e-4,
    "optim.cooldown": 0,
    "optim.min_rate": 0.0,
    "optim.start_error": 0.0,
    "optim.start_rate": 0.01,
    "optim.momentum_form": "pytorch",
    "optim.nesterov": False,
    "optim.beta2": 0.999,
    "optim.epsilon": 1e-8,
    "optim.epsilon_in_root": True,
    "optim.decay_form": "coupled",
    "optim.bias_rate": 1.0,
    "optim.body_rate": 1.0,
    "optim.clip_norm": 0.0,
    "optim.clip_value": 0.0,
    "optim.filter_radius": 0.0,
    "optim.average": "none",
    "optim.average_decay": 0.9999,
    "data.pixels": "stored",
    "data.normalisation": "channels",
    "data.arrays": "",
    "data.sampling": "shuffle",
    "data.repeats": 1,
    "data.eval_size": 0,
    "data.decode_side": 0,
    "data.keep_decoded": 0.0,
    "data.interpolation": "bilinear",
    "data.trivial_augment": False,
    "data.pca_noise": 0.0,
    "data.pca": (),
    "data.brightness": 0.0,
    "data.contrast": 0.0,
    "data.saturation": 0.0,
    "data.hue": 0.0,
    "data.erasing": 0.0,
    "data.mixup": 0.0,
    "data.cutmix": 0.0,
    "test.protocol": "none",
    "test.scales": (),
    "test.combine": "softmax",
    "log.layer_gradients": False,
}

# Fields of networks that recipes of earlier versions did not have, and what they were.
EARLIER_FIELDS: dict[str, Any] = {
    "model.fields.norm_across_groups": False,
    "model.fields.ceil_mode": False,
    "model.fields.batch_norm": True,
    "model.fields.zero_last_scale": False,
    "model.fields.local_response_norm": True,
    "model.fields.pool_window": 3,
    "model.fields.block": "basic",
    "model.fields.width": 1.0,
    "model.fields.head": "average",
    "model.fields.head_dropout_rate": 0.0,
    "model.fields.initial_bias": 1.0,
    "model.fields.initialisation": "normal",
}
# Of these, those that say only how a network starts.
FIELDS_OF_THE_START = "model.fields.initial_bias", "model.fields.initialisation"

# A setting without effect unless another one has one of these values.
ONLY_WITH: dict[str, tuple[Any, ...]] = {
    "epochs": ("steps", 0),
    "optim.milestones": ("optim.schedule", "step"),
    "optim.factor": ("optim.schedule", "step", "exponential", "plateau"),
    "optim.fall_every": ("optim.schedule", "exponential"),
    "optim.power": ("optim.schedule", "polynomial"),
    "optim.patience": ("optim.schedule", "plateau"),
    "optim.threshold": ("optim.schedule", "plateau"),
    "optim.cooldown": ("optim.schedule", "plateau"),
    "model.fields.head_dropout_rate": ("model.fields.head", "dense"),
    "data.crop_padding": ("data.train_crop", "pad_crop"),
    "data.min_area": ("data.train_crop", "random_resized_crop"),
    "data.scale_min": ("data.train_crop", "scale_jitter_crop"),
    "data.scale_max": ("data.train_crop", "scale_jitter_crop"),
}


def follow_image_size(
    config: ConfigDict, recipe: Mapping[str, Any], given: Collection[str]
) -> None:
    """Sets the sides of ``RATIOS`` for the config's image_size, unless they are given.

    They keep their ratio to the image_size of the recipe. The size of images in memory
    does not change, and so neither does their eval_resize.
    """
    size, old_size = config.data.image_size, recipe["data.image_size"]
    is_size = setting_rules.RULES["data.image_size"].follows
    if not (is_size(size) and is_size(old_size)):
        return  # an error follows
    for key, ratio in RATIOS.items():
        name, side = key.removeprefix("data."), recipe[key]
        if key in given and config.data[name] != 0:
            continue
        is_fixed = name == "eval_resize" and config.data.in_memory
        if side == 0:
            config.data[name] = round(ratio * size)
        elif is_size(side) and not is_fixed:
            config.data[name] = round(side * size / old_size)
    scales = recipe["test.scales"]
    if "test.scales" not in given and setting_rules.SCALES.follows(scales):
        config.test.scales = tuple(round(side * size / old_size) for side in scales)


def placeholders(config: ConfigDict) -> dict[str, Any]:
    """Returns some number for each of ``COUNTED`` that is not counted.

    For programs that see no image: their costs do not depend on the numbers. What needs
    arrays is replaced by "channels".
    """
    channels = config.data.channels
    some = {
        "data.mean": (0.0,) * channels,
        "data.std": (1.0,) * channels,
        "data.pca": (0.0,) * (channels + channels**2),
    }
    changes = {
        key: value
        for key, value in some.items()
        if config.data[key.removeprefix("data.")] in TO_COUNT
    }
    if not config.data.arrays:
        changes["data.normalisation"] = "channels"
    if config.class_weights in TO_COUNT:
        changes["class_weights"] = "none"
    return changes


def follow_length(
    config: ConfigDict, recipe: Mapping[str, Any], given: Collection[str]
) -> None:
    """Moves the recipe's ``SCHEDULE`` with the length of the run, unless it is given.

    The length is in steps or in epochs, and so are the places. A length in epochs
    replaces the recipe's in steps.
    """
    optim = config.optim
    if "epochs" in given and "steps" not in given:
        config.steps = 0
    old, new = recipe["steps"] or recipe["epochs"], config.steps or config.epochs
    if old == new and bool(recipe["steps"]) == bool(config.steps):
        return  # no rounding: results are the same, bit for bit
    share = new / old
    if "optim.milestones" not in given:
        optim.milestones = tuple(_short(share * each) for each in optim.milestones)
    if "optim.fall_every" not in given and optim.schedule == "exponential":
        optim.fall_every = _short(share * optim.fall_every)
    rise = recipe["optim.warmup_steps"] or recipe["optim.warmup_epochs"]
    if not {"optim.warmup_epochs", "optim.warmup_steps"} & set(given):
        of_steps = round(share * rise) if config.steps else 0
        optim.warmup_steps = of_steps
        optim.warmup_epochs = 0.0 if config.steps else _short(share * rise)
    elif config.steps and "optim.warmup_epochs" not in given:
        optim.warmup_epochs = 0.0
    elif not config.steps and "optim.warmup_steps" not in given:
        optim.warmup_steps = 0


def _short(value: float) -> float:
    """Returns a number of few digits, for config.json and the screen."""
    return float(f"{value:.5g}")


def unused(settings: Mapping[str, Any]) -> dict[str, str]:
    """Returns the settings of ``ONLY_WITH`` that have no effect, and why."""
    return {
        key: f"without effect, as {other} is {settings[other]}, not "
        f"{' or '.join(map(str, values))}"
        for key, (other, *values) in ONLY_WITH.items()
        if key in settings and settings[other] not in values
    }
