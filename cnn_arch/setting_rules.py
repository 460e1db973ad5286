"""The type, range and shape of every setting, in one table.

``configs/base.py`` has their defaults and meanings. The command line, recipes, a run's
config.json and the settings of sweeps are all checked by this table.
"""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from cnn_arch.errors import UsageError
from cnn_arch.hints import nearest, nearest_setting
from cnn_arch.value_rules import Rule, number, numbers, one_of, whole


def _is_path(text: str) -> bool:
    """Whether the system can look for a file of this name, whatever it contains."""
    try:
        return b"\0" not in os.fsencode(text) and len(text) <= 4096
    except UnicodeEncodeError:  # half a character, from a JSON file
        return False


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()


def _are_weights(value: Any) -> bool:
    """Whether a text is none, inverse or numbers above 0."""
    try:
        words = value.split(",") if isinstance(value, str) else ["0"]
        return value in ("none", "inverse") or all(0 < float(x) <= 1e6 for x in words)
    except ValueError:
        return False


ABOVE_0 = number(" above 0, at most 1,000,000", lambda v: v > 0, "1.0")
NOT_NEGATIVE = number(", 0 to 1,000,000", lambda v: v >= 0, "0.0")
SHARE = number(", at least 0 and below 1", lambda v: 0 <= v < 1, "0.1")
PART = number(", 0 to 1", lambda v: 0 <= v <= 1, "0.4")
SWITCH = Rule("true or false", lambda v: type(v) is bool, "true")
TEXT = Rule(
    "text of at most 4,096 characters in one line",
    lambda v: isinstance(v, str) and len(v) <= 4096 and v.isprintable(),
    "photos",
)
PATH = Rule("a path", lambda v: isinstance(v, str) and _is_path(v), "photos")
PATTERNS = Rule(
    "names of layers, with * for any part",
    lambda v: isinstance(v, list | tuple) and all(map(_is_name, v)),
    "conv*,fc6",
)
PIXELS = whole(1, 16_384, 224)
SIDE = whole(0, 3 * 16_384, 256)  # 0 follows the image size
CROPS = (
    "none pad_crop random_resized_crop scale_jitter_crop square_crop ten_crop affine"
).split()

PROTOCOLS = (
    "one_crop ten_crop multi_crop twelve_crop googlenet_144 whole dense multi_scale"
).split()
COMBINE = one_of("softmax", "logits")
SCALES = numbers(
    "whole numbers of px, 1 to 4,096, that rise",
    lambda v: (
        all(type(x) is int and 0 < x <= 4096 for x in v) and list(v) == sorted(set(v))
    ),
    "(256, 384, 512)",
)

RULES: dict[str, Rule] = {
    "seed": whole(0, 2**32 - 1),  # JAX takes 32 bits of it
    "batch_size": whole(1, 2**20, 128),
    "accumulate": whole(1, 2**20, 4),
    "epochs": ABOVE_0,
    "steps": whole(0, 2**31 - 1),  # the state counts them in 32 bits
    "init_from": PATH,
    "early_stopping": whole(0, 2**20, 10),
    "freeze": PATTERNS,
    "freeze_epochs": NOT_NEGATIVE,
    "loss": one_of("cross_entropy", "binary_cross_entropy"),
    "class_weights": Rule(
        "none, inverse, or a number above 0 for each class", _are_weights, "1,2.5"
    ),
    "label_smoothing": SHARE,
    "aux_weight": NOT_NEGATIVE,
    "precision": one_of("auto", "float32", "bfloat16"),
    "scan_blocks": SWITCH,
    "remat": SWITCH,
    "batch_norm_statistics": one_of("global", "per_device"),
    "batch_norm_images": whole(0, 2**31 - 1, 10_000),
    "model.name": TEXT,
    "optim.learning_rate": number(  # finite in float32, although a run would diverge
        " above 0, at most 1e38", lambda v: v > 0, "0.1", high=1e38
    ),
    "optim.name": one_of("sgd", "rmsprop", "adamw", "lamb"),
    "optim.schedule": one_of(
        *"cosine step polynomial exponential one_cycle constant plateau".split()
    ),
    "optim.milestones": numbers(
        "numbers of epochs (of steps, if steps is set), at least 0, that rise",
        lambda v: all(x >= 0 for x in v) and list(v) == sorted(set(v)),
        "(30, 60)",
    ),
    "optim.factor": ABOVE_0,
    "optim.fall_every": ABOVE_0,
    "optim.power": ABOVE_0,
    "optim.patience": whole(1, 2**20, 5),
    "optim.threshold": number(" above 0, below 1", lambda v: 0 < v < 1, "0.0001"),
    "optim.cooldown": whole(0, 2**20),
    "optim.min_rate": NOT_NEGATIVE,
    "optim.warmup_epochs": NOT_NEGATIVE,
    "optim.warmup_steps": whole(0, 2**31 - 1),
    "optim.start_error": number(", 0 to 100", lambda v: 0 <= v <= 100, "80.0"),
    "optim.start_rate": ABOVE_0,
    "optim.momentum": SHARE,
    "optim.momentum_form": one_of("pytorch", "caffe"),
    "optim.nesterov": SWITCH,
    "optim.beta2": SHARE,
    "optim.epsilon": ABOVE_0,
    "optim.epsilon_in_root": SWITCH,
    "optim.weight_decay": NOT_NEGATIVE,
    "optim.decay": one_of("all", "kernels"),
    "optim.decay_form": one_of("coupled", "decoupled"),
    "optim.bias_rate": NOT_NEGATIVE,
    "optim.body_rate": ABOVE_0,
    "optim.clip_norm": NOT_NEGATIVE,
    "optim.clip_value": NOT_NEGATIVE,
    "optim.filter_radius": NOT_NEGATIVE,
    "optim.average": one_of("none", "ema", "polyak"),
    "optim.average_decay": SHARE,
    "data.source": one_of("folder", "tfds", "mnist5k", "mnist", "fashion_mnist"),
    "data.name": TEXT,
    "data.dir": PATH,
    "data.image_size": PIXELS,
    "data.channels": one_of(1, 3),
    "data.num_classes": whole(0, 2**20),
    "data.test_split": TEXT,
    "data.validation_fraction": number(" above 0, below 1", lambda v: 0 < v < 1, "0.1"),
    "data.in_memory": SWITCH,
    "data.sampling": one_of("shuffle", "balanced"),
    "data.repeats": whole(1, 1024, 4),
    "data.fit": one_of("resize", "pad"),
    "data.train_crop": one_of(*CROPS),
    "data.crop_padding": whole(0, 16_384, 4),
    "data.min_area": number(" above 0, at most 1", lambda v: 0 < v <= 1, "0.08"),
    "data.scale_min": SIDE,
    "data.scale_max": SIDE,
    "data.flip": SWITCH,
    "data.interpolation": one_of("bilinear", "random"),
    "data.trivial_augment": SWITCH,
    "data.pca_noise": NOT_NEGATIVE,
    "data.pca": numbers(
        "no numbers, 2 for gray images or 12 for colours",
        lambda v: len(v) in (0, 2, 12),
        "()",
    ),
    "data.brightness": PART,
    "data.contrast": PART,
    "data.saturation": PART,
    "data.hue": number(", 0 to 0.5", lambda v: 0 <= v <= 0.5, "0.1"),
    "data.erasing": PART,
    "data.mixup": NOT_NEGATIVE,
    "data.cutmix": NOT_NEGATIVE,
    "data.eval_resize": SIDE,
    "data.eval_size": SIDE,
    "data.mean": numbers(
        "no numbers, or 1 or 3, one for each channel",
        lambda v: len(v) in (0, 1, 3),
        "(127.5,)",
    ),
    "data.std": numbers(
        "no numbers, or 1 or 3 above 0, one for each channel",
        lambda v: len(v) in (0, 1, 3) and all(x > 0 for x in v),
        "(127.5,)",
    ),
    "data.normalisation": one_of("channels", "mean_image", "gcn_zca"),
    "data.arrays": Rule(
        "empty or a SHA-256, 64 hexadecimal digits",
        lambda v: isinstance(v, str) and re.fullmatch("([0-9a-f]{64})?", v) is not None,
        64 * "0",
    ),
    "data.pixels": one_of("shown", "stored"),
    "data.skip_broken": SWITCH,
    "data.num_threads": whole(0, 4096),
    "data.decode_side": whole(0, 3 * 16_384, 512),
    "data.keep_decoded": SHARE,
    "mesh.data": whole(0, 2**20),
    "mesh.model": whole(1, 2**20),
    "test.protocol": one_of("none", *PROTOCOLS),
    "test.scales": SCALES,
    "test.combine": COMBINE,
    "log.layer_gradients": SWITCH,
    "checkpoint.every_minutes": ABOVE_0,
}

# Fields of the project's networks. A network of a user's own has its own fields: any
# values that JSON can store.
FIELDS = "model.fields."
FIELD_RULES: dict[str, Rule] = {
    "model.fields.dropout_rate": SHARE,
    "model.fields.groups": one_of(1, 2, 4, 8, 16, 32),  # divide the maps of each layer
    "model.fields.aux_heads": SWITCH,
    "model.fields.shortcut": one_of("A", "B", "C", "none"),
    "model.fields.tf_slim": SWITCH,
    "model.fields.local_response_norm": SWITCH,
    "model.fields.norm_across_groups": SWITCH,
    "model.fields.ceil_mode": SWITCH,
    "model.fields.batch_norm": SWITCH,
    "model.fields.zero_last_scale": SWITCH,
    "model.fields.local3_width": whole(1, 2**16, 64),
    "model.fields.activation": one_of("relu", "tanh", "sigmoid"),
    "model.fields.pool_window": one_of(2, 3),
    "model.fields.block": one_of("basic", "bottleneck"),
    "model.fields.width": number(", 0.1 to 16", lambda v: 0.1 <= v <= 16, "1.0"),
    "model.fields.module": one_of("bottleneck", "naive"),
    "model.fields.kernel_sizes": numbers(
        "odd whole numbers, 1 to 31",
        lambda v: v and all(type(x) is int and 0 < x < 32 and x % 2 for x in v),
        "(3, 3, 3)",
    ),
    "model.fields.head": one_of("average", "dense"),
    "model.fields.head_dropout_rate": SHARE,
    "model.fields.initial_bias": number(", -10 to 10", lambda v: abs(v) <= 10, "0.1"),
    "model.fields.initialisation": one_of("glorot", "normal"),
}

# Fields that the program sets itself, by the settings on the right. All networks have
# the first two.
SET_BY_PROGRAM = {
    "model.fields.num_classes": "data.num_classes",
    "model.fields.dtype": "precision",
}
SET_IN_PROJECT = SET_BY_PROGRAM | {
    "model.fields.scan": "scan_blocks",
    "model.fields.remat": "remat",
    "model.fields.batch_norm_axis": "batch_norm_statistics",
}


def check(
    settings: Mapping[str, Any], show: Callable[[str], str], is_project: bool
) -> None:
    """Checks each setting by its rule.

    Args:
      settings: by their keys, as ``settings.flatten`` returns them.
      show: writes a key and its value as the user gave them.
      is_project: whether the network is one of the project's.

    Raises:
      UsageError: a setting breaks its rule or does not exist.
    """
    set_elsewhere = SET_IN_PROJECT if is_project else SET_BY_PROGRAM
    for key, value in settings.items():
        if key in set_elsewhere:
            raise UsageError(f"{show(key)}: set {set_elsewhere[key]} instead")
        if key.startswith(FIELDS):
            rule = FIELD_RULES.get(key) if is_project else None
            rule = rule or Rule("a number, a word or a list of them", _is_plain, "1")
        elif key in RULES:
            rule = RULES[key]
        else:
            near = nearest_setting(key, RULES)
            hint = f"; did you mean {near}?" if near else ""
            raise UsageError(f"{show(key)}: no such setting{hint}")
        if not rule.follows(value):
            raise UsageError(f"{show(key)}: {explain(rule, value)}")


def explain(rule: Rule, value: Any) -> str:
    """Returns what a value that breaks the rule must be, with a value that is meant."""
    if rule.choices:
        near = nearest(str(value), map(str, rule.choices))
        hint = f"; did you mean {near}?" if near else ""
        return f"must be {rule.words}{hint}"
    return f"must be {rule.words}, such as {rule.example}"


def _is_plain(value: Any, depth: int = 4) -> bool:
    """Whether a value is a number, a word, or a list of these."""
    if isinstance(value, list | tuple):
        return depth > 0 and all(_is_plain(each, depth - 1) for each in value)
    return value is None or isinstance(value, bool | int | float | str)
