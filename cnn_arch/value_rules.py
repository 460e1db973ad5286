"""Rules for values: whole numbers, numbers, choices and lists of numbers."""

import dataclasses
from collections.abc import Callable
from typing import Any

LARGE = 1e6  # above any sensible number; far from the largest float


@dataclasses.dataclass(frozen=True)
class Rule:
    """What the values of a setting must be, in words and as a test."""

    words: str  # after "must be"
    follows: Callable[[Any], bool]  # of any value at all
    example: str  # a value that follows the rule
    choices: tuple[Any, ...] = ()
    is_whole: bool = False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def whole(low: int, high: int, example: int | None = None) -> Rule:
    """Returns the rule of whole numbers from ``low`` to ``high``."""
    return Rule(
        f"a whole number, {low:,} to {high:,}",
        lambda v: type(v) is int and low <= v <= high,
        str(low if example is None else example),
        is_whole=True,
    )


def number(
    words: str, suits: Callable[[float], bool], example: str, high: float = LARGE
) -> Rule:
    """Returns the rule of numbers up to ``high`` of which ``suits`` is true."""
    return Rule(
        f"a number{words}",
        lambda v: _is_number(v) and abs(v) <= high and suits(v),
        example,
    )


def one_of(*choices: Any) -> Rule:
    """Returns the rule that a value is one of the choices."""
    types = {type(choice) for choice in choices}
    return Rule(
        f"one of {', '.join(map(str, choices))}",
        lambda v: type(v) in types and v in choices,
        str(choices[0]),
        choices,
    )


def numbers(words: str, suits: Callable[[Any], bool], example: str) -> Rule:
    """Returns the rule of a list of numbers of which ``suits`` is true."""
    return Rule(
        words,
        lambda v: (
            isinstance(v, list | tuple)
            and all(_is_number(each) and abs(each) <= LARGE for each in v)
            and suits(v)
        ),
        example,
    )
