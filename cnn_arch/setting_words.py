"""The words of the command line that change settings: ``--config.KEY=VALUE``."""

import ast
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from cnn_arch import folders, setting_rules
from cnn_arch.errors import UsageError
from cnn_arch.hints import nearest_setting

# What reading a value or a file from outside may raise; deep brackets need too many
# calls.
_BROKEN_FILE = OSError, ValueError, TypeError, KeyError, AttributeError
UNREADABLE = (*_BROKEN_FILE, SyntaxError, RecursionError, MemoryError)


OF_FOLDER, OF_LARGE = ":folder", ":large_folder"  # how a recipe's word ends


def joined(arguments: Sequence[str], option: str = "--config") -> list[str]:
    """Joins ``--config.key value`` to ``--config.key=value``.

    ``option`` is how the options to join begin.
    """
    joined: list[str] = []
    for word in arguments:
        previous = joined[-1] if joined else ""
        is_value = not word.startswith("-") or re.match(r"-[\d.]", word)
        if previous.startswith(option) and "=" not in previous and is_value:
            joined[-1] = f"{previous}={word}"
        else:
            joined.append(word)
    return joined


def check_key(argument: str, known: Mapping[str, Any], recipe: str) -> str:
    """Returns the key of ``--config.KEY=VALUE``.

    Raises:
      UsageError: there is no such setting, or the argument has no value.
    """
    word, equals, value = argument.partition("=")
    if not word.startswith("-"):
        raise UsageError(
            f"{argument!r}: settings need the prefix; write --config.{argument}"
        )
    if not word.startswith("--config."):
        raise UsageError(f"{word}: no such option; see --help")
    key = word.removeprefix("--config.")
    if any(name.startswith(f"{key}.") for name in known):
        raise UsageError(f"{argument}: a group of settings; set one, as in {word}.KEY")
    if key not in known:
        near = nearest_setting(key, known)
        hint = f"; did you mean --config.{near} (now {known[near]})?" if near else ""
        raise UsageError(f"{argument}: {recipe} has no such setting{hint}")
    if not value and not (type(known[key]) is bool and not equals):
        rule = "is empty" if equals else "needs a value"
        example = (
            f"as in {word}={known[key]}" if known[key] != "" else "or leave it out"
        )
        raise UsageError(f"{argument}: {rule}; give one, {example}")
    return key


def change(config: ConfigDict, key: str, argument: str, now: Any) -> None:
    """Changes a setting of a config from ``now`` to ``--config.KEY=VALUE``.

    Raises:
      UsageError: the value is not of the setting's type.
    """
    text = argument.partition("=")[2] or "true"  # a switch alone
    try:
        value = read_value(text, now)
        config.update_from_flattened_dict({key: value})
    except UNREADABLE:
        kind = type(now).__name__
        rule = setting_rules.RULES.get(key) or setting_rules.FIELD_RULES.get(key)
        words = setting_rules.explain(rule, text) if rule else f"must be of type {kind}"
        raise UsageError(f"{argument}: {words}") from None


def read_value(text: str, now: Any) -> Any:
    """Reads the text of a setting, which has the type of its present value."""
    if isinstance(now, bool):
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    if isinstance(now, int):
        return int(text)
    if isinstance(now, float):
        return float(text)
    if isinstance(now, str):
        return text
    try:
        value = ast.literal_eval(text)
    except UNREADABLE:
        value = text  # a word, where the present value has no type
    if isinstance(now, list) and isinstance(value, str):
        return tuple(word.strip() for word in value.split(","))
    if isinstance(now, list) and not isinstance(value, tuple | list):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def of_its_size(recipe: str, others: Sequence[str]) -> str:
    """Returns the word of a recipe, which is another for a large folder.

    Args:
      recipe: ``--config=RECIPE:DATA``.
      others: the settings, of which one may give the folder.
    """
    given = [word for word in others if word.startswith("--config.data.dir=")]
    if recipe.endswith(OF_FOLDER) and given:
        directory = given[-1].partition("=")[2]
        if directory and folders.is_large(os.path.expanduser(directory)):
            return recipe.removesuffix(OF_FOLDER) + OF_LARGE
    return recipe
