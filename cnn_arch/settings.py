"""Reads the command line into a checked config, which cannot change."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, FrozenConfigDict, config_flags

from cnn_arch import choices, hints, setting_rules, setting_words
from cnn_arch.errors import UsageError
from cnn_arch.files import read_json
from cnn_arch.installation import ROOT, find_recipe, import_recipes, recipes


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns a config as {"data.image_size": 224, ...}, with lists for tuples."""
    settings = {}
    for key, value in config.items():
        if isinstance(value, ConfigDict | dict):
            settings |= flatten(value, f"{prefix}{key}.")
        else:
            settings[prefix + key] = list(value) if isinstance(value, tuple) else value
    return settings


def parse(
    arguments: Sequence[str], *, trains: bool = False
) -> tuple[FrozenConfigDict, dict[str, Any]]:
    """Reads ``--config=FILE[:DATA]`` and its ``--config.KEY=VALUE`` settings.

    Args:
      arguments: the words of the command line that are not the command's own options.
      trains: a precision of "auto" depends on the devices, which are not open yet, and
        stays. Otherwise it is float32, with which counts and evaluations are the same
        on any machine.

    Returns:
      The checked config, and the settings that differ from the recipe's.

    Raises:
      UsageError: an argument is wrong.
    """
    recipe, others = _find_recipe(setting_words.joined(arguments))
    config = _read(setting_words.of_its_size(recipe, others))
    original = flatten(config)
    if missing := [key for key in setting_rules.RULES if key not in original]:
        raise UsageError(
            f"{recipe}: not a recipe of this project, it has no {missing[0]}; a recipe "
            "starts from configs/base.py"
        )
    choices.follow_image_size(config, original, ())
    known = flatten(config)
    check_rules(config, lambda key: f"{recipe}: {key}={known[key]}")
    given: dict[str, str] = {}  # each setting as the user wrote it
    for argument in others:
        key = setting_words.check_key(argument, known, recipe.removeprefix("--config="))
        given[key] = argument  # the last one counts; see `remarks`
        setting_words.change(config, key, argument, known[key])

    def show(key: str) -> str:
        return given.get(key, f"--config.{key}={flatten(config)[key]}")

    choices.follow_image_size(config, original, given)
    check_rules(config, show)
    _check_network(config.model.name)
    choices.follow_length(config, original, given)
    if config.precision == "auto" and not trains:
        config.precision = "float32"
    flat = flatten(config)
    check_pairs(config, show)
    changed = {
        key: flat[key]
        for key in given
        if key in choices.CHOSEN or flat[key] != known[key]
    }
    return FrozenConfigDict(config), changed


def remarks(
    words: Sequence[str], config: ConfigDict
) -> tuple[dict[str, Any], list[str]]:
    """Returns what a command line changes without naming it, and what has no effect.

    Args:
      words: as for ``parse``.
      config: what they give, with the choices that a continued run keeps.
    """
    recipe, others = _find_recipe(setting_words.joined(words))
    flat = flatten(config)
    known, now = (flatten(parse(each)[0]) for each in ([recipe], words))
    given: dict[str, str] = {}
    idle = []
    for word in others:
        key = word.partition("=")[0].removeprefix("--config.")
        if key in given and given[key] != word:
            idle.append(f"{given[key]}: without effect, as {word} follows")
        given[key] = word
    unused = choices.unused(flat)
    moved = {
        key: flat[key]
        for key in choices.CHOSEN
        # A length in epochs, which is given, replaces one in steps.
        if key not in {"steps", *given, *unused} and flat[key] == now[key] != known[key]
    }
    idle += [f"--config.{key}: {why}" for key, why in unused.items() if key in given]
    return moved, idle


def recipe_name(words: Sequence[str]) -> str:
    """Returns the name of the recipe, with the data if it is chosen: ``nin:folder``."""
    word, _ = _find_recipe(setting_words.joined(words))
    file, colon, data = word.removeprefix("--config=").partition(":")
    return f"{find_recipe(file).stem}{colon}{data}"


def own_recipe(words: Sequence[str]) -> list[str]:
    """Returns ``--config=FILE`` if the recipe is the user's own, else no word.

    Such a recipe may register a network, so later commands need it.
    """
    own = []
    for word in setting_words.joined(words):
        option, _, given = word.partition("=")
        if option == "--config":
            path = find_recipe(given.partition(":")[0]).resolve()
            own += [word] if path.parent != ROOT / "configs" else []
    return own


def _check_network(name: str) -> None:
    """Checks that there is a network of this name, before JAX is imported.

    A recipe that registers a network has imported the others with it.
    """
    if name and name not in recipes() and "cnn_arch.models" not in sys.modules:
        raise UsageError(hints.no_network(name, recipes()))


def check_rules(config: ConfigDict, show: Callable[[str], str]) -> None:
    """Checks each setting by ``setting_rules``; ``show`` writes one with its value.

    Raises:
      UsageError: a setting breaks its rule or does not exist.
    """
    settings = flatten(config)
    is_project = settings.get("model.name") in recipes()
    setting_rules.check(settings, show, is_project)


def check_pairs(config: ConfigDict, show: Callable[[str], str]) -> None:
    """Checks the settings that must agree with each other.

    Raises:
      UsageError: two do not.
    """
    data = config.data
    for key in ("mean", "std"):
        values = data[key]
        if values and len(values) != data.channels:
            fit = (round(sum(values) / len(values), 2),) * data.channels
            raise UsageError(
                f"{show(f'data.{key}')}: must have a value for each of the "
                f"{data.channels} channels, such as --config.data.{key}="
                f"{','.join(map(str, fit))}"
            )
    if data.normalisation != "channels" and data.eval_size not in (0, data.image_size):
        raise UsageError(
            f"{show('data.eval_size')}: {data.normalisation} has a mean of each pixel "
            f"of data.image_size, {data.image_size}; leave it 0"
        )
    if data.scale_min > data.scale_max:
        raise UsageError(
            f"{show('data.scale_min')}: must be at most data.scale_max, "
            f"{data.scale_max}"
        )
    _check_optim(config, show)


def _check_optim(config: ConfigDict, show: Callable[[str], str]) -> None:
    """Checks the settings of the optimizer that must agree with each other."""
    optim = config.optim
    if config.steps and optim.warmup_epochs:
        raise UsageError(
            f"{show('optim.warmup_epochs')}: the length is in steps; give "
            "--config.optim.warmup_steps"
        )
    if optim.warmup_steps and not config.steps:
        raise UsageError(
            f"{show('optim.warmup_steps')}: the length is in epochs; give "
            "--config.optim.warmup_epochs, or the length as --config.steps"
        )
    if optim.name == "lamb" and config.mesh.model > 1:
        raise UsageError(
            f"{show('mesh.model')}: lamb needs the norms of whole layers, which no "
            "device has; leave it 1, or choose another optim.name"
        )
    if optim.min_rate > optim.learning_rate:
        raise UsageError(
            f"{show('optim.min_rate')}: must be at most optim.learning_rate, "
            f"{optim.learning_rate:g}"
        )


def derive(config: ConfigDict, changes: Mapping[str, Any]) -> FrozenConfigDict:
    """Returns a new config with changes, such as ``{"data.dir": "photos"}``."""
    derived = ConfigDict(config)
    derived.update_from_flattened_dict(_with_tuples(dict(changes)))
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
        stored = read_json(path)
        for key, value in choices.EARLIER.items():
            group, _, name = key.rpartition(".")
            (stored.setdefault(group, {}) if group else stored).setdefault(name, value)
        config = ConfigDict(_with_tuples(stored))
        flat = flatten(config)
        if missing := [key for key in setting_rules.RULES if key not in flat]:
            raise ValueError(f"it has no {missing[0]}")
    except setting_words.UNREADABLE as error:
        raise UsageError(f"{path}: not the config of a run ({error})") from None

    def show(key: str) -> str:
        return f"{path}: {key}={flat[key]}"

    check_rules(config, show)
    check_pairs(config, show)
    return FrozenConfigDict(config)


def _with_tuples(value: Any) -> Any:
    """Returns JSON values with tuples for lists, as recipes have them.

    ml_collections cannot freeze a config with both an empty list and an empty tuple.
    """
    if isinstance(value, dict):
        return {key: _with_tuples(each) for key, each in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _find_recipe(words: Sequence[str]) -> tuple[str, list[str]]:
    """Returns the word with the recipe, and the other words.

    Raises:
      UsageError: there is no such word, or there are two.
    """
    chosen = [word for word in words if word.partition("=")[0] == "--config"]
    if chosen == ["--config"]:
        raise UsageError("--config: needs a value, as in --config=lenet5")
    if len(chosen) != 1:
        raise UsageError("--config: must be given once; see --help")
    return chosen[0], [word for word in words if word is not chosen[0]]


def _read(word: str) -> ConfigDict:
    """Reads the recipe of ``--config=FILE[:DATA]``; its code may raise anything."""
    given, colon, data = word.removeprefix("--config=").partition(":")
    path = find_recipe(given)
    if colon and not data:
        raise UsageError(
            f"{word}: must name the data after the colon, as in {word}folder; or "
            "leave the colon out"
        )
    import_recipes()
    words = ["cnn_arch", f"--config={path}{colon}{data}"]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=words)
    try:
        values(words)
        config = values["config"].value
    except Exception as error:
        # ml_collections reports an error of the recipe itself as a printed traceback.
        reason = str(error).strip().splitlines()[-1]
        if "Traceback" in str(error):
            reason = reason.partition(": ")[2] or reason
        if "has no attribute 'get_config'" in reason:
            reason = "it has no function get_config"
        if not reason.startswith(":"):  # as `base.use_data` names its data sets
            reason = f"not a recipe ({reason})"
        raise UsageError(f"{word}: {reason}") from error
    if not isinstance(config, ConfigDict):
        raise UsageError(f"{word}: not a recipe, its get_config returns no ConfigDict")
    return config
