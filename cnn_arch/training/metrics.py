"""What a run writes down of its steps and epochs: CSV files, TensorBoard, curves."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import SummaryWriter

from cnn_arch.report import plots
from cnn_arch.run_directory import Table

STEP_COLUMNS = ("step", "loss", "top1_error", "gradient_norm", "learning_rate")
EPOCH_COLUMNS = (
    "epoch",
    "step",
    "train_loss",
    "train_top1_error",
    "validation_loss",
    "validation_top1_error",
    "validation_top5_error",
    "learning_rate",
    "images_per_second",
    "seconds",
    "input_wait_seconds",
)
DRAWING_SHARE = 1 / 500  # of the time, at most, goes to drawing the curves anew


class Metrics:
    """steps.csv, metrics.csv and the TensorBoard events of a run.

    When a run goes on from a checkpoint, what was written after it is cut off, and the
    epoch that it lies in is written to TensorBoard anew.

    Attributes:
      last_loss: of the newest step, in nats; None before the first.
    """

    def __init__(self, workdir: Path, step: int, steps_per_epoch: int):
        """Opens the files.

        Args:
          workdir: the run directory.
          step: of the checkpoint that the run goes on from; 0 for a fresh one.
          steps_per_epoch: updates in an epoch.
        """

        def lies_before(row) -> bool:
            return int(row["step"]) <= step

        self._workdir = workdir
        self._steps_per_epoch = steps_per_epoch
        self._steps = Table(workdir / "steps.csv", STEP_COLUMNS, lies_before)
        self._epochs = Table(workdir / "metrics.csv", EPOCH_COLUMNS, lies_before)
        begun = step // steps_per_epoch * steps_per_epoch
        self._board = SummaryWriter(
            str(workdir), purge_step=begun + 1 if step else None
        )
        self._next_drawing = 0.0
        rows = self._steps.rows
        self.last_loss = float(rows[-1]["loss"]) if rows else None

    def add_step(self, step: int, values: dict[str, float]) -> None:
        """Adds a row to steps.csv."""
        self._steps.add(step=step, **values)
        self.last_loss = values["loss"]

    def add_epoch(
        self, step: int, validation: dict[str, float], **measured: float
    ) -> list[dict[str, Any]]:
        """Ends an epoch after a step; returns the rows of all epochs.

        Args:
          step: the number of updates made.
          validation: loss and errors on the validation split.
          **measured: speeds and times.
        """
        epoch = step / self._steps_per_epoch
        # An epoch may have begun in an earlier process; its steps stand in the file.
        num_steps = (step - 1) % self._steps_per_epoch + 1
        of_epoch = self._steps.rows[-num_steps:]
        self._epochs.add(
            epoch=int(epoch) if epoch.is_integer() else epoch,
            step=step,
            train_loss=_mean(of_epoch, "loss"),
            train_top1_error=_mean(of_epoch, "top1_error"),
            validation_loss=validation["loss"],
            validation_top1_error=validation["top1_error"],
            validation_top5_error=validation["top5_error"],
            learning_rate=float(of_epoch[-1]["learning_rate"]),
            **measured,
        )
        for name, value in self._epochs.rows[-1].items():
            self._board.add_scalar(f"epoch/{name}", value, step)
        for row in of_epoch:
            self._board.add_scalar("step/loss", float(row["loss"]), int(row["step"]))
        self._steps.rows.clear()  # what is on disk need not stay in memory
        self.sync()
        return self._epochs.rows

    def draw(self, *, last: bool) -> None:
        """Draws the curves, unless that would be too often and is not the last time."""
        start = time.monotonic()
        if last or start >= self._next_drawing:
            plots.curves(self._workdir / "plots" / "curves.png", self._epochs.rows)
            end = time.monotonic()
            self._next_drawing = end + (end - start) / DRAWING_SHARE

    def sync(self) -> None:
        """Has all on disk, before a checkpoint that follows it."""
        self._steps.sync()
        self._epochs.sync()
        self._board.flush()

    def close(self) -> None:
        """Ends writing."""
        self._steps.close()
        self._epochs.close()
        self._board.close()


class Unwritten:
    """Stands in for `Metrics` in a process that does not write."""

    def __init__(self, workdir: Path, step: int, steps_per_epoch: int):
        """Takes what `Metrics` takes."""
        self.last_loss: float | None = None

    def add_step(self, step: int, values: dict[str, float]) -> None:
        """Remembers the loss."""
        self.last_loss = values["loss"]

    def add_epoch(
        self, step: int, validation: dict[str, float], **measured: float
    ) -> list[dict[str, Any]]:
        """Returns no rows."""
        return []

    def draw(self, *, last: bool) -> None:
        """Draws nothing."""

    def sync(self) -> None:
        """Has nothing to write."""

    def close(self) -> None:
        """Has nothing to close."""


def _mean(rows: list[dict[str, Any]], column: str) -> float:
    return float(np.mean([float(row[column]) for row in rows]))
