"""The tables and the TensorBoard events that a run appends to, across its starts."""

import csv
import os
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from cnn_arch.errors import UsageError
from cnn_arch.files import write_csv


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
