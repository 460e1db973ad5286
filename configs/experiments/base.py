"""The parts of an experiment's file: the comparisons in its rule, and lectures.

The function ``get_experiment`` returns a dictionary; ``cnn_arch/experiments/plan.py``
describes each key. The verdict follows from the rule and the numbers alone, and the
rule is written before the runs.
"""

from typing import Any

# The lectures, as ``analyze.py --claims`` names them.
CS231N = "CS231n 2017, lecture 9"
EECS498 = "EECS 498-007, lecture 8"
D2L = "d2l.ai, modern CNNs"

# Settings of CIFAR-10's recipes: half of the side, and a quarter of the operations.
HALF_SIDE = {"data.image_size": 16, "data.crop_padding": 2}


def recipes(*names: str) -> dict[str, dict[str, Any]]:
    """Returns variants that are recipes as they are, by the recipes' names."""
    return {name: {"config": name} for name in names}


def difference(
    measure: str,
    first: str,
    second: str,
    *,
    above: float | None = None,
    below: float | None = None,
) -> dict[str, Any]:
    """Claims that the measure of one variant minus that of another is in a range."""
    return _comparison("difference", measure, (first, second), (above, below))


def ratio(
    measure: str,
    first: str,
    second: str,
    *,
    above: float | None = None,
    below: float | None = None,
) -> dict[str, Any]:
    """Claims that the measure of one variant over that of another is in a range."""
    return _comparison("ratio", measure, (first, second), (above, below))


def paired_difference(
    measure: str,
    other: str,
    variant: str,
    *,
    above: float | None = None,
    below: float | None = None,
) -> dict[str, Any]:
    """Claims that a measure minus another one of the same runs is in a range."""
    limits, variants = (above, below), (variant, variant)
    compared = _comparison("difference", measure, variants, limits)
    return compared | {"second_measure": other}


def _comparison(
    scale: str,
    measure: str,
    variants: tuple[str, str],
    limits: tuple[float | None, float | None],
) -> dict[str, Any]:
    if limits == (None, None):
        raise ValueError(f"{measure} of {variants}: give above, below or both")
    (first, second), (above, below) = variants, limits
    return {
        "scale": scale,
        "measure": measure,
        "first": first,
        "second": second,
        "above": above,
        "below": below,
    }
