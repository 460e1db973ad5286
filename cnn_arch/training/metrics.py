"""The metrics of a run's steps and epochs: CSV files, TensorBoard, curves."""

import csv
import os
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from cnn_arch.errors import UsageError
from cnn_arch.files import write_csv
from cnn_arch.report import confusion, plots

STEP_COLUMNS = ("step", "loss", "top1_error", "gradient_norm", "learning_rate")
EPOCH_COLUMNS = """
    epoch step train_loss train_top1_error validation_loss validation_top1_error
    validation_top5_error learning_rate images_per_second seconds input_wait_seconds
""".split()
# Of the average of the parameters, on the validation images, if one is kept.
AVERAGE_COLUMNS = ("average_loss", "average_top1_error")
DRAWING_SHARE = 1 / 500  # the largest share of a run's time for drawing curves


class Table:
    """A CSV file that a run appends to; a continued run first drops later rows.

    Numbers are written with all their digits: reading them gives the same numbers.
    """

    def __init__(
        self,
        path: Path,
        columns: Sequence[str],
        keep: Callable[[Mapping[str, str]], bool],
    ):
        """Opens or makes the file; ``keep`` returns whether a complete row stays.

        Raises:
          UsageError: there is a file that is damaged.
        """
        self.columns = columns
        self.rows: list[dict[str, Any]] = []
        if path.exists():
            try:
                self.rows = _complete_rows(path, columns, keep)
            except (csv.Error, ValueError, KeyError, TypeError) as error:
                raise UsageError(
                    f"{path}: not readable ({error}); put it back, or delete it to "
                    "continue without its rows"
                ) from None
        write_csv(path, [columns, *([row[c] for c in columns] for row in self.rows)])
        self._path = path
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, lineterminator="\n")

    def add(self, **values: Any) -> None:
        """Adds a row with a value for each column."""
        self.rows.append(values)
        self._writer.writerow([values[column] for column in self.columns])

    def sync(self) -> None:
        """Forces the rows onto the disk; a checkpoint of the same step follows."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def checksum(self) -> int:
        """Returns the CRC-32 of the file; call ``sync`` before."""
        return zlib.crc32(self._path.read_bytes())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class Board:
    """A file of events for TensorBoard.

    tensorboardX's own SummaryWriter hands events to a thread, and its ``flush`` does
    not wait for that thread: a kill after a checkpoint would lose some of them.
    """

    def __init__(self, folder: Path, first_step: int):
        """Makes a file; TensorBoard hides what earlier files have from a step on."""
        self._writer = EventsWriter(str(folder / "events"))
        self._add(step=first_step, session_log=SessionLog(status=SessionLog.START))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Adds a point of a curve."""
        self._add(step=step, summary=scalar(name, value))

    def sync(self) -> None:
        """Forces the events onto the disk."""
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()

    def _add(self, **fields: Any) -> None:
        self._writer.write_event(Event(wall_time=time.time(), **fields))


def _complete_rows(
    path: Path, columns: Sequence[str], keep: Callable[[Mapping[str, str]], bool]
) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        complete = [row for row in csv.DictReader(file) if all(row.values())]
    for row in complete:
        for column in columns:
            float(row[column])  # raises an error where that is no number
    return [{c: row[c] for c in columns} for row in complete if keep(row)]


class Metrics:
    """Writes steps.csv, metrics.csv and the TensorBoard events of a run.

    When a run continues from a checkpoint, everything after the checkpoint is deleted,
    and TensorBoard gets the checkpoint's epoch again.
    """

    def __init__(
        self,
        workdir: Path,
        step: int,
        steps_per_epoch: int,
        num_classes: int = 1000,
        more_columns: Sequence[str] = (),
    ):
        """Opens the files; ``step`` is the checkpoint's, 0 for a new run.

        ``more_columns`` are of ``validation`` in ``add_epoch``, after the usual ones.
        """

        def is_before(row) -> bool:
            return int(row["step"]) <= step

        self._workdir = workdir
        self._steps_per_epoch = steps_per_epoch
        self._steps = Table(workdir / "steps.csv", STEP_COLUMNS, is_before)
        self._epochs = Table(
            workdir / "metrics.csv", [*EPOCH_COLUMNS, *more_columns], is_before
        )
        self._more_columns = more_columns
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

    def add_step(self, step: int, values: dict[str, float]) -> None:
        """Adds a row to steps.csv."""
        self._steps.add(step=step, **values)
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
        self._steps.rows.clear()  # they are on disk
        self.sync()
        return self._epochs.rows

    def draw(self, *, last: bool) -> None:
        """Draws the curves; unless it is the last time, not too often."""
        start = time.monotonic()
        if last or start >= self._next_drawing:
            rows = list(map(self._shown, self._epochs.rows))
            plots.curves(self._workdir / "plots" / "curves.png", rows)
            end = time.monotonic()
            self._next_drawing = end + (end - start) / DRAWING_SHARE

    def _shown(self, row: dict[str, Any]) -> dict[str, Any]:
        """Returns the columns of an epoch's row that TensorBoard and curves show."""
        return {name: row[name] for name in row if name not in self._hidden}

    def sync(self) -> None:
        """Writes everything to disk, before a checkpoint is saved."""
        self._steps.sync()
        self._epochs.sync()
        self._board.sync()

    def checksums(self) -> dict[str, int]:
        """Returns the CRC-32 of each table, for the checkpoint of the same step."""
        return {
            "steps.csv": self._steps.checksum(),
            "metrics.csv": self._epochs.checksum(),
        }

    def close(self) -> None:
        """Closes the files."""
        self._steps.close()
        self._epochs.close()
        self._board.close()


class _Unwritten(Metrics):
    """Only remembers the last loss."""

    def __init__(self, *_: object):
        self.last_loss = None

    def add_step(self, step: int, values: dict[str, float]) -> None:
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
    more_columns: Sequence[str],
) -> Metrics:
    """Returns the metrics of a run; only process 0 writes files."""
    kind = Metrics if jax.process_index() == 0 else _Unwritten
    return kind(workdir, step, steps_per_epoch, num_classes, more_columns)


def _mean(rows: list[dict[str, Any]], column: str) -> float:
    return float(np.mean([float(row[column]) for row in rows]))
