"""The epochs of a run: its losses, errors and time, from its files.

The loss of a run may become infinite or not a number: the run has diverged. Its errors
count as those of guessing, from the epoch in which it diverged to its planned end.
"""

import csv
import math
from pathlib import Path

from cnn_arch import settings
from cnn_arch.experiments.rules import Bound, Value
from cnn_arch.run_directory import read_classes, read_divergence, read_times

ERRORS = "train_top1_error", "validation_top1_error"  # columns of metrics.csv


def curve(workdir: Path) -> list[list[float]]:
    """Returns the epoch, the training and the validation error in percent, by epoch."""
    columns = "epoch", *ERRORS
    return [[round(float(row[key]), 3) for key in columns] for row in rows(workdir)]


def minutes(workdir: Path) -> float:
    """Returns the time of a run: of training and validation, or of measuring."""
    if found := read_times(workdir):
        return found["seconds"] / 60
    return sum(float(row["seconds"]) for row in rows(workdir)) / 60


def first_loss(workdir: Path, _: str) -> float:
    """Returns the mean loss of the first batch in nats, before the first update."""
    with (workdir / "steps.csv").open(newline="", encoding="utf-8") as file:
        return float(next(csv.DictReader(file))["loss"])


def rows(workdir: Path) -> list[dict[str, str]]:
    """Returns the rows of metrics.csv; a run that diverged guesses to its end."""
    path = workdir / "metrics.csv"
    if not path.exists():  # it has measured times
        return []
    with path.open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    if found := read_divergence(workdir):
        length = settings.from_json(workdir / "config.json").epochs
        for number in range(len(read) + 1, math.ceil(length) + 1):
            epoch = min(number, length)
            errors = dict.fromkeys(ERRORS, str(chance(workdir)))
            step = epoch * found["steps_per_epoch"]
            read.append(
                {"epoch": str(epoch), "step": str(step), "seconds": "0", **errors}
            )
    return read


def chance(workdir: Path) -> float:
    """Returns the error of guessing in percent, with as many images in each class."""
    return 100 - 100 / len(read_classes(workdir))


def column(rows: list[dict[str, str]], name: str) -> list[float]:
    """Returns a column of the rows as numbers."""
    return [float(row[name]) for row in rows]


def first_below(goal: float, places: list[float], errors: list[float]) -> Value:
    """Returns the place where a falling error, 100 % at 0, is first at the goal."""
    before = 0.0, 100.0
    for place, error in zip(places, errors, strict=True):
        if error <= goal:
            share = (before[1] - goal) / (before[1] - error)
            return before[0] + share * (place - before[0])
        before = place, error
    return Bound(before[0])
