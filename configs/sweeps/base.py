"""The parts of a sweep: lists of settings, and ranges to draw from.

The function ``get_sweep`` of a sweep file returns a dictionary of settings for each
trial: ``[{"optim.learning_rate": 0.1}, ...]``. For ``--search=tpe``, ``get_space``
returns a list of choices or a range for each setting.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

DIGITS = 3  # of a drawn number: precise enough, and easy to read


def uniform(low: float, high: float) -> dict[str, Any]:
    """Returns the range from low to high; all numbers are equally likely."""
    return _range(low, high, log=False)


def log_uniform(low: float, high: float) -> dict[str, Any]:
    """Returns the range from low, above 0, to high; the logarithm is uniform."""
    if low <= 0:
        raise ValueError(f"low is {low}, and must be above 0")
    return _range(low, high, log=True)


def _range(low: float, high: float, *, log: bool) -> dict[str, Any]:
    if not low < high:
        raise ValueError(f"low is {low}, and must be below high, {high}")
    return {"low": low, "high": high, "log": log}


def grid(space: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Returns every combination of the choices; the last setting changes fastest."""
    combinations = itertools.product(*space.values())
    return [dict(zip(space, values, strict=True)) for values in combinations]


def random(
    space: Mapping[str, Any], num_trials: int, seed: int = 0
) -> list[dict[str, Any]]:
    """Draws trials from lists of choices and ranges; a seed gives the same trials."""
    generator = Random(seed)
    return [
        {key: _draw(values, generator) for key, values in space.items()}
        for _ in range(num_trials)
    ]


def _draw(values: Any, generator: Random) -> Any:
    if not isinstance(values, Mapping):
        return generator.choice(values)
    low, high = values["low"], values["high"]
    if values["log"]:
        drawn = math.exp(generator.uniform(math.log(low), math.log(high)))
    else:
        drawn = generator.uniform(low, high)
    return min(max(float(f"{drawn:.{DIGITS}g}"), low), high)
