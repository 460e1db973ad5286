"""Reads finished runs for tests, and compares two of them."""

import csv
from pathlib import Path

import numpy as np

MEASURED = ("images_per_second", "seconds", "input_wait_seconds")  # differ each time


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [
            {key: value for key, value in row.items() if key not in MEASURED}
            for row in csv.DictReader(file)
        ]


def assert_same_run(one: Path, other: Path) -> None:
    """Asserts that two runs made the same steps and weights, bit for bit."""
    for name in ("steps.csv", "metrics.csv", "eval/predictions_test.csv"):
        assert rows(one / name) == rows(other / name), name
    with (
        np.load(one / "weights_best.npz") as weights,
        np.load(other / "weights_best.npz") as others,
    ):
        assert set(weights) == set(others)
        for name in weights:
            assert weights[name].tobytes() == others[name].tobytes(), name
