"""The settings of a sweep: read from its file, checked, and written as words."""

import runpy
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_arch import settings
from cnn_arch.errors import UsageError
from cnn_arch.installation import find_sweep, import_recipes
from cnn_arch.setting_rules import RULES, Rule

# The settings on which it depends whether a network can be made.
OF_NETWORKS = "model", "data", "mesh", "precision", "scan_blocks", "remat"


def read(path: str, function: str) -> Any:
    """Runs a sweep file and returns the result of its ``get_sweep`` or ``get_space``.

    Raises:
      UsageError: the file or function does not exist, or its code raises an error.
    """
    example = "configs/sweeps/lr_wd.py"
    return call(f"--sweep={path}", find_sweep(path), function, "sweep", example)


def call(where: str, file: Path, function: str, kind: str, example: str) -> Any:
    """Runs a file of settings and returns the result of one of its functions.

    Args:
      where: the option that names the file, for messages.
      file: Python code.
      function: its name; it takes no argument.
      kind: what the file is, a word for messages.
      example: a file that has the function.

    Raises:
      UsageError: the function does not exist, or the code raises an error.
    """
    import_recipes()
    try:
        names = runpy.run_path(str(file))
    except Exception as error:  # a user's code may raise anything
        raise UsageError(f"{where}: not a {kind} ({_one_line(error)})") from error
    if not callable(names.get(function)):
        raise UsageError(f"{where}: has no function {function}; see {example}")
    try:
        return names[function]()
    except Exception as error:
        reason = f"{function} raised {_one_line(error)}"
        raise UsageError(f"{where}: {reason}") from error


def read_trials(path: str, words: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the settings of each trial of a sweep file.

    Args:
      path: the file, or the name of a file in configs/sweeps/.
      words: ``--config=FILE`` and the settings that all trials share.

    Raises:
      UsageError: a setting is invalid or also in ``words``, or two trials are equal.
    """
    trials = read(path, "get_sweep")
    if not isinstance(trials, list) or not trials:
        raise UsageError(f"--sweep={path}: get_sweep must return a list of trials")
    return check_trials(f"--sweep={path}", trials, words)


def check_trials(
    source: str, trials: Sequence[Any], words: Sequence[str]
) -> list[dict[str, Any]]:
    """Returns the settings of trials as JSON stores them.

    Args:
      source: where they are from, for messages.
      trials: the settings of each; the key "config" is the recipe, if ``words`` have
        none.
      words: as of ``read_trials``.

    Raises:
      UsageError: as of ``read_trials``.
    """
    checked: list[dict[str, Any]] = []
    networks: set[str] = set()
    for number, trial in enumerate(trials):
        where = f"{source}: trial {number}"
        if not isinstance(trial, Mapping) or not trial:
            raise UsageError(f'{where}: must be a dictionary such as {{"seed": 1}}')
        overrides = {
            key: _plain(value, f"{where}: {key}") for key, value in trial.items()
        }
        if overrides in checked:
            raise UsageError(
                f"{where}: equal to trial {checked.index(overrides)}; runs are "
                'repeatable bit for bit, so vary "seed"'
            )
        _check(where, words, overrides, networks)
        checked.append(overrides)
    return checked


def read_space(path: str, words: Sequence[str]) -> dict[str, Any]:
    """Returns the choices and ranges of a sweep file; arguments as of ``read_trials``.

    Raises:
      UsageError: a choice or an end of a range is invalid, or a key is in ``words``.
    """
    space = read(path, "get_space")
    where = f"--sweep={path}"
    if not isinstance(space, Mapping) or not space:
        raise UsageError(f"{where}: get_space must return a dictionary of settings")
    checked: dict[str, Any] = {}
    networks: set[str] = set()
    for key, values in space.items():
        at = f"{where}: {key}"
        if isinstance(values, Mapping):
            checked[key] = _read_range(values, at, RULES.get(key))
            tried = [checked[key]["low"], checked[key]["high"]]
        elif isinstance(values, str) or not isinstance(values, Iterable):
            raise UsageError(f"{at}: must be a list of choices, or a range")
        else:
            tried = checked[key] = [_plain(value, at) for value in values]
            if not tried or any(isinstance(value, list) for value in tried):
                raise UsageError(f"{at}: must be numbers or words")
        for value in tried:
            _check(where, words, {key: value}, networks)
    return checked


def _read_range(
    values: Mapping[str, Any], where: str, rule: Rule | None
) -> dict[str, Any]:
    """Returns a range with ends of the setting's type.

    A whole number's range has whole ends, and whole numbers are drawn from it.

    Raises:
      UsageError: it is not a range, or its ends are not numbers that rise.
    """
    if set(values) != {"low", "high", "log"}:
        raise UsageError(f"{where}: must be uniform(low, high) or log_uniform(...)")
    low, high = (_plain(values[end], f"{where}: {end}") for end in ("low", "high"))
    for end in (low, high):
        is_number = isinstance(end, int | float) and not isinstance(end, bool)
        if not is_number or not -(2**53) <= end <= 2**53:
            raise UsageError(f"{where}: {end!r}: the end of a range must be a number")
    if not low < high:
        raise UsageError(f"{where}: low must be below high")
    if values["log"] and low <= 0:
        raise UsageError(f"{where}: low must be above 0")
    if rule and rule.is_whole:
        if not (float(low).is_integer() and float(high).is_integer()):
            raise UsageError(f"{where}: the ends must be whole numbers")
        low, high = int(low), int(high)
    else:
        low, high = float(low), float(high)
    return {"low": low, "high": high, "log": bool(values["log"])}


def words_of(overrides: Mapping[str, Any]) -> list[str]:
    """Returns the command-line words for settings."""
    return [
        f"--config{'' if key == 'config' else f'.{key}'}="
        f"{tuple(value) if isinstance(value, list) else value}"
        for key, value in overrides.items()
    ]


def describe(overrides: Mapping[str, Any]) -> str:
    """Writes settings in one line, without their groups if no two names are equal."""
    last = [key.rpartition(".")[2] for key in overrides]
    names = last if len(set(last)) == len(last) else overrides
    values = map(short, overrides.values())
    return "  ".join(f"{key}={value}" for key, value in zip(names, values, strict=True))


def short(value: Any) -> str:
    """Writes a value; a float with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _plain(value: Any, where: str) -> Any:
    """Returns a value as JSON stores it: NumPy scalars as numbers, tuples as lists."""
    item: Callable[[], Any] | None = getattr(value, "item", None)
    if item and not getattr(value, "shape", ()):
        value = item()
    if isinstance(value, tuple | list):
        return [_plain(each, where) for each in value]
    if not isinstance(value, bool | int | float | str):
        raise UsageError(f"{where}={value!r}: must be a number, a word or a list")
    return value


def _check(
    where: str, words: Sequence[str], overrides: Mapping[str, Any], networks: set[str]
) -> None:
    """Reads the settings in the same way as train.py, and checks the network.

    ``networks`` are those that were checked before; this one is added.
    """
    from cnn_arch.datasets.opening import check_images  # imports JAX

    for word in words_of(overrides):
        name = word.partition("=")[0]
        if any(other.startswith(f"{name}=") for other in words):
            raise UsageError(f"{name}: {where} sets it too; give it once")
    try:
        config, _ = settings.parse([*words, *words_of(overrides)])
        network = "\n".join(str(config[key]) for key in OF_NETWORKS)
        if network not in networks:
            check_images(config)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    networks.add(network)
