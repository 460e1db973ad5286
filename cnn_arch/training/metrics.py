"""The metrics of a run's steps and epochs: CSV files, TensorBoard, curves."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from cnn_arch.parallel import processes
from cnn_arch.report import confusion, plots
from cnn_arch.training import layer_gradients
from cnn_arch.training.tables import Board, Table

STEP_COLUMNS = ("step", "loss", "top1_error", "gradient_norm", "learning_rate")
EPOCH_COLUMNS = """
    epoch step train_loss train_top1_error validation_loss validation_top1_error
    validation_top5_error learning_rate images_per_second seconds input_wait_seconds
""".split()
# Of the average of the parameters, on the validation images, if one is kept.
AVERAGE_COLUMNS = ("average_loss", "average_top1_error")
NO_MORE: Mapping[str, Sequence[str]] = MappingProxyType({})
DRAWING_SHARE = 1 / 500  # the largest share of a run's time for drawing curves


class Metrics:
    """Writes the tables and the TensorBoard events of a run.

    When a run continues from a checkpoint, everything after the checkpoint is deleted,
    and TensorBoard gets the checkpoint's epoch again.
    """

    def __init__(
        self,
        workdir: Path,
        step: int,
        steps_per_epoch: int,
        num_classes: int = 1000,
        more_columns: Mapping[str, Sequence[str]] = NO_MORE,
    ):
        """Opens the files; ``step`` is the checkpoint's, 0 for a new run.

        ``more_columns`` are, by the file, those of metrics.csv after the usual ones,
        of ``validation`` in ``add_epoch``; and the layers of layer_gradients.csv: if
        there are none, it is not written.
        """

        def is_before(row) -> bool:
            return int(row["step"]) <= step

        self._workdir = workdir
        self._steps_per_epoch = steps_per_epoch
        self._steps = Table(workdir / "steps.csv", STEP_COLUMNS, is_before)
        self._more_columns = more_columns.get("metrics.csv", ())
        columns = [*EPOCH_COLUMNS, *self._more_columns]
        self._epochs = Table(workdir / "metrics.csv", columns, is_before)
        self._layers: layer_gradients.Log | None = None
        if layers := more_columns.get(layer_gradients.FILE):
            self._layers = layer_gradients.Log(workdir, layers, step)
        first_step = step // steps_per_epoch * steps_per_epoch + 1  # of the epoch
        # A new run, too, may have been killed before: before its first checkpoint.
        self._board = Board(workdir, first_step)
        self._next_drawing = 0.0
        self._hidden: tuple[str, ...] = ()
        if not confusion.shows_top5(num_classes):
            self._hidden = ("validation_top5_error",)
        rows = self._steps.rows
        # Of the newest step, in nats; None before the first step.
        self.last_loss: float | None = float(rows[-1]["loss"]) if rows else None

    def add_step(
        self, step: int, values: dict[str, float], by_layer: Any = None
    ) -> None:
        """Adds a row to steps.csv; and the gradients' norms by layer, if logged."""
        self._steps.add(step=step, **values)
        if self._layers:
            self._layers.add_step(step, by_layer)
        self.last_loss = values["loss"]

    def add_epoch(
        self, step: int, validation: dict[str, float], **measured: float
    ) -> list[dict[str, Any]]:
        """Ends an epoch after ``step`` updates; returns the rows of all epochs.

        ``validation`` has the loss and the errors, ``measured`` speeds and times.
        """
        epoch = step / self._steps_per_epoch
        # The file also has the epoch's steps from before the last checkpoint.
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
            **{name: validation[name] for name in self._more_columns},
        )
        for name, value in self._shown(self._epochs.rows[-1]).items():
            self._board.add_scalar(f"epoch/{name}", value, step)
        for row in of_epoch:
            self._board.add_scalar("step/loss", float(row["loss"]), int(row["step"]))
        if self._layers:
            self._layers.add_epoch(step - num_steps + 1, step, self._board)
        self._steps.rows.clear()  # they are on disk
        self.sync()
        return self._epochs.rows

    def draw(self, *, last: bool) -> None:
        """Draws the curves; unless it is the last time, not too often."""
        start = time.monotonic()
        if last or start >= self._next_drawing:
            rows = list(map(self._shown, self._epochs.rows))
            plots.curves(self._workdir / "plots" / "curves.png", rows)
            if self._layers:
                self._layers.draw()
            end = time.monotonic()
            self._next_drawing = end + (end - start) / DRAWING_SHARE

    def _shown(self, row: dict[str, Any]) -> dict[str, Any]:
        """Returns the columns of an epoch's row that TensorBoard and curves show."""
        return {name: row[name] for name in row if name not in self._hidden}

    def sync(self) -> None:
        """Writes everything to disk, before a checkpoint is saved."""
        for table in self._tables.values():
            table.sync()
        self._board.sync()

    def checksums(self) -> dict[str, int]:
        """Returns the CRC-32 of each table, for the checkpoint of the same step."""
        return {name: table.checksum() for name, table in self._tables.items()}

    def close(self) -> None:
        """Closes the files."""
        for table in self._tables.values():
            table.close()
        self._board.close()

    @property
    def _tables(self) -> dict[str, Table]:
        tables = {"steps.csv": self._steps, "metrics.csv": self._epochs}
        if self._layers:
            tables[layer_gradients.FILE] = self._layers.table
        return tables


class _Unwritten(Metrics):
    """Only remembers the last loss."""

    def __init__(self, *_: object):
        self.last_loss = None

    def add_step(
        self, step: int, values: dict[str, float], by_layer: Any = None
    ) -> None:
        self.last_loss = values["loss"]

    def add_epoch(
        self, step: int, validation: dict[str, float], **measured: float
    ) -> list[dict[str, Any]]:
        return []

    def draw(self, *, last: bool) -> None:
        pass

    def sync(self) -> None:
        pass

    def checksums(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        pass


def open_metrics(
    workdir: Path,
    step: int,
    steps_per_epoch: int,
    num_classes: int,
    more_columns: Mapping[str, Sequence[str]],
) -> Metrics:
    """Returns the metrics of a run; only process 0 writes files."""
    kind = Metrics if processes.index() == 0 else _Unwritten
    return kind(workdir, step, steps_per_epoch, num_classes, more_columns)


def _mean(rows: list[dict[str, Any]], column: str) -> float:
    return float(np.mean([float(row[column]) for row in rows]))
