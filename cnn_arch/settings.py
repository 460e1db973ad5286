"""Reads the command line into a checked config, which cannot change."""

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, FrozenConfigDict, config_flags

from cnn_arch.errors import UsageError
from cnn_arch.installation import ROOT, find_recipe, import_recipes

# The rule in words, and whether a value follows it.
Rule = tuple[str, Callable[[Any], bool]]


def at_least(low: float) -> Rule:
    """Returns the rule ``value >= low``."""
    return f"must be at least {low}", lambda value: value >= low


def above(low: float) -> Rule:
    """Returns the rule ``value > low``."""
    return f"must be above {low}", lambda value: value > low


def one_of(*choices: Any) -> Rule:
    """Returns the rule that a value is one of the choices."""
    names = ", ".join(str(choice) for choice in choices)
    return f"must be one of {names}", lambda value: value in choices


SHARE: Rule = ("must be at least 0 and below 1", lambda value: 0 <= value < 1)
RULES: dict[str, Rule] = {
    "seed": at_least(0),
    "batch_size": at_least(1),
    "epochs": above(0),
    "label_smoothing": SHARE,
    "aux_weight": at_least(0),
    "precision": one_of("float32", "bfloat16"),
    "batch_norm_statistics": one_of("global", "per_device"),
    "optim.learning_rate": above(0),
    "optim.schedule": one_of("cosine", "step", "constant"),
    "optim.milestones": ("must rise", lambda steps: list(steps) == sorted(set(steps))),
    "optim.factor": above(0),
    "optim.warmup_epochs": at_least(0),
    "optim.momentum": SHARE,
    "optim.weight_decay": at_least(0),
    "optim.decay": one_of("all", "kernels"),
    "data.source": one_of("folder", "tfds", "mnist5k", "fashion_mnist"),
    "data.image_size": at_least(1),
    "data.channels": one_of(1, 3),
    "data.num_classes": at_least(0),
    "data.validation_fraction": ("must be above 0 and below 1", lambda v: 0 < v < 1),
    "data.fit": one_of("resize", "pad"),
    "data.train_crop": one_of(
        "none", "pad_crop", "random_resized_crop", "scale_jitter_crop", "affine"
    ),
    "data.crop_padding": at_least(0),
    "data.min_area": ("must be above 0, at most 1", lambda value: 0 < value <= 1),
    "data.num_threads": at_least(0),
    "data.std": ("must be above 0", lambda stds: all(std > 0 for std in stds)),
    "mesh.data": at_least(0),
    "mesh.model": at_least(1),
    "checkpoint.every_minutes": above(0),
}


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns a config as {"data.image_size": 224, ...}, with lists for tuples."""
    settings = {}
    for key, value in config.items():
        if isinstance(value, ConfigDict | dict):
            settings |= flatten(value, f"{prefix}{key}.")
        else:
            settings[prefix + key] = list(value) if isinstance(value, tuple) else value
    return settings


def parse(arguments: Sequence[str]) -> tuple[FrozenConfigDict, dict[str, Any]]:
    """Reads ``--config=FILE[:DATA]`` and its ``--config.KEY=VALUE`` settings.

    Args:
      arguments: the words of the command line that are not the command's own options.

    Returns:
      The checked config, and the settings that differ from the recipe's.

    Raises:
      UsageError: an argument is wrong.
    """
    arguments = _joined(arguments)
    chosen = [word for word in arguments if word.startswith("--config=")]
    if len(chosen) != 1:
        raise UsageError("--config: must be given once; see --help")
    given, colon, data = chosen[0].removeprefix("--config=").partition(":")
    recipe = f"--config={find_recipe(given)}{colon}{data}"
    known = flatten(_read([recipe], chosen[0]))
    if missing := [key for key in RULES if key not in known]:
        raise UsageError(
            f"{chosen[0]}: not a recipe of this project, it has no {missing[0]}; a "
            "recipe starts from configs/base.py"
        )
    others = [word for word in arguments if word != chosen[0]]
    for argument in others:
        _check_key(argument, known, f"{given}{colon}{data}")
    config = _read([recipe, *others], chosen[0])
    check(config)
    flat = flatten(config)
    changed = {key: flat[key] for key in flat if flat[key] != known.get(key, object())}
    return FrozenConfigDict(config), changed


def own_recipe(words: Sequence[str]) -> list[str]:
    """Returns ``--config=FILE`` if the recipe is the user's own, else no word.

    Such a recipe may register a network, so later commands need it.
    """
    own = []
    for word in _joined(words):
        option, _, given = word.partition("=")
        if option == "--config":
            path = find_recipe(given.partition(":")[0]).resolve()
            own += [word] if path.parent != ROOT / "configs" else []
    return own


def check(config: ConfigDict) -> None:
    """Checks each setting by its rule, and pairs of settings that must agree.

    Raises:
      UsageError: a setting breaks a rule.
    """
    settings = flatten(config)
    for key, (rule, is_followed) in RULES.items():
        if not is_followed(settings[key]):
            raise UsageError(f"--config.{key}={settings[key]}: {rule}")
    for key in ("mean", "std"):
        values = settings[f"data.{key}"]
        if len(values) != config.data.channels:
            raise UsageError(
                f"--config.data.{key}={values}: must have a value for each of the "
                f"{config.data.channels} channels"
            )
    if config.data.scale_min > config.data.scale_max:
        raise UsageError(
            f"--config.data.scale_min={config.data.scale_min}: must be at most "
            f"data.scale_max, {config.data.scale_max}"
        )


def derive(config: ConfigDict, changes: Mapping[str, Any]) -> FrozenConfigDict:
    """Returns a new config with changes, such as ``{"data.dir": "photos"}``."""
    derived = ConfigDict(config)
    derived.update_from_flattened_dict(changes)
    return FrozenConfigDict(derived)


def to_json(config: ConfigDict) -> str:
    """Returns the text of the config.json of a run directory."""
    return config.to_json(indent=2) + "\n"


def from_json(path: Path) -> FrozenConfigDict:
    """Reads the config.json of a run directory.

    Raises:
      UsageError: the file has no valid config.
    """
    try:
        config = ConfigDict(json.loads(path.read_text()))
        check(config)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: not the config of a run ({error})") from None
    return FrozenConfigDict(config)


def _joined(arguments: Sequence[str]) -> list[str]:
    """Joins ``--config.key value`` to ``--config.key=value``."""
    joined: list[str] = []
    for word in arguments:
        previous = joined[-1] if joined else ""
        is_value = not word.startswith("-")
        if previous.startswith("--config") and "=" not in previous and is_value:
            joined[-1] = f"{previous}={word}"
        else:
            joined.append(word)
    return joined


def _check_key(argument: str, known: Mapping[str, Any], recipe: str) -> None:
    """Raises UsageError for a missing prefix, an unknown option or setting."""
    word, _, _ = argument.partition("=")
    if not word.startswith("-"):
        raise UsageError(
            f"{argument!r}: settings need the prefix; write --config.{argument}"
        )
    if not word.startswith("--config."):
        raise UsageError(f"{word}: no such option; see --help")
    key = word.removeprefix("--config.")
    if key in known:
        return
    if any(name.startswith(f"{key}.") for name in known):
        raise UsageError(f"{argument}: a group of settings; set one, as in {word}.KEY")
    # The user may give the last part alone: learning_rate, num_threads.
    last = {name.rpartition(".")[2]: name for name in known}
    near = difflib.get_close_matches(key, known, n=1) or [
        last[name] for name in difflib.get_close_matches(key.split(".")[-1], last, n=1)
    ]
    hint = f"; did you mean --config.{near[0]} (now {known[near[0]]})?" if near else ""
    raise UsageError(f"{argument}: {recipe} has no such setting{hint}")


def _read(arguments: Sequence[str], given: str) -> ConfigDict:
    """Reads ``--config=PATH[:DATA]`` and settings; ``given``: the user's spelling."""
    import_recipes()
    words = ["cnn_arch", *arguments]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=words)
    try:
        values(words)
    except (flags.Error, TypeError) as error:
        reason = str(error).strip().splitlines()[-1]
        # ml_collections reports an error of the recipe itself as a printed traceback.
        if "Traceback" in str(error):
            reason = f"{given}: {reason.partition(': ')[2] or reason}"
            raise UsageError(reason) from error
        for argument in arguments[1:]:
            key, _, value = argument.removeprefix("--config.").partition("=")
            if value and f"--config.{key}={value}" in str(error):
                kind = type(flatten(_read(arguments[:1], given))[key]).__name__
                raise UsageError(f"{argument}: must be of type {kind}") from None
        raise UsageError(reason) from None
    except Exception as error:  # the file's own code may raise anything
        raise UsageError(f"{given}: not a recipe ({error})") from error
    return values["config"].value
