"""What is measured of a finished run: numbers with units, read from its files."""

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from cnn_arch.experiments.rules import Bound, Value


@dataclasses.dataclass(frozen=True)
class Measure:
    """A number of a run."""

    label: str  # on axes and in tables; {} is the argument
    unit: str
    of: Callable[[Path, str], Value]  # of a run directory and the argument, or ""


def find(text: str) -> tuple[Measure, str]:
    """Returns a measure and its argument: ``NAME`` or ``NAME:ARGUMENT``.

    Raises:
      KeyError: there is no such measure.
    """
    name, _, argument = text.partition(":")
    return MEASURES[name], argument


def take(text: str, workdir: Path) -> Value:
    """Returns a measure of a finished run."""
    measure, argument = find(text)
    return measure.of(workdir, argument)


def label(text: str) -> str:
    """Returns a measure's label, without its unit."""
    measure, argument = find(text)
    return measure.label.format(argument)


def curve(workdir: Path) -> list[list[float]]:
    """Returns the epoch, the training and the validation error in percent, by epoch."""
    columns = "epoch", "train_top1_error", "validation_top1_error"
    return [[round(float(row[key]), 3) for key in columns] for row in _epochs(workdir)]


def minutes(workdir: Path) -> float:
    """Returns the training time of a run, with its validation."""
    return sum(float(row["seconds"]) for row in _epochs(workdir)) / 60


def _epochs(workdir: Path) -> list[dict[str, str]]:
    with (workdir / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _training_error(workdir: Path, _: str) -> float:
    return float(_epochs(workdir)[-1]["train_top1_error"])


def _test_error(workdir: Path, _: str) -> float:
    results = json.loads((workdir / "eval" / "results.json").read_text())
    return results["test"]["top1_error"]


def _gap(workdir: Path, _: str) -> float:
    return _test_error(workdir, _) - _training_error(workdir, _)


def _steps_to(workdir: Path, goal: str) -> Value:
    """Returns the step at which a training error is reached, between two epochs."""
    before = (0.0, 100.0)
    for row in _epochs(workdir):
        step, error = float(row["step"]), float(row["train_top1_error"])
        if error <= float(goal):
            share = (before[1] - float(goal)) / (before[1] - error)
            return before[0] + share * (step - before[0])
        before = step, error
    return Bound(before[0])


MEASURES = {
    "training_error": Measure("training error, last epoch", "%", _training_error),
    "test_error": Measure("test error", "%", _test_error),
    "gap": Measure("test error - training error", "points", _gap),
    "steps_to_training_error": Measure(
        "steps to a training error of {} %", "steps", _steps_to
    ),
    "minutes": Measure("training time", "minutes", lambda path, _: minutes(path)),
}
