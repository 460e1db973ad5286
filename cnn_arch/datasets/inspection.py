"""Reads each image of a folder once: whether it is intact, and still the same.

What was read is kept in a run's data_checksums.csv. A later start reads only the files
whose size or times differ.
"""

import contextlib
import csv
import hashlib
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from cnn_arch.data import decoding
from cnn_arch.data.folder import FileSource, as_written, read_image_file
from cnn_arch.data.sources import DataConfig
from cnn_arch.files import write_csv
from cnn_arch.parallel import processes
from cnn_arch.screen import Screen

FILE = "data_checksums.csv"
COLUMNS = "file", "bytes", "modified_ns", "changed_ns", "checksum", "fault"
CHANGED = "has changed since the run began"
MAX_SECONDS = 20.0  # before the training starts, for its own images
LOWEST_PRIORITY = 19  # of Linux's "nice"


def inspect(path: str, data: DataConfig) -> tuple[str, str]:
    """Reads and decodes a file.

    Returns:
      The checksum of its bytes, and what is wrong with it; "" if it is an image.
    """
    checksum, kind = "", "readable"
    try:
        encoded = read_image_file(path)
        checksum = hashlib.blake2b(encoded, digest_size=16).hexdigest()
        if encoded and not decoding.is_image(encoded[:12]):
            kind = "JPEG, PNG, WebP or BMP"
        decoding.decode(encoded, data.channels, shown=data.pixels == "shown")
    except decoding.UnreadableImageError as error:
        return checksum, f"not a {kind} image ({error})"
    return checksum, ""


class Inspection:
    """The inspected images of a folder, and those that are left."""

    def __init__(
        self, images: FileSource, used: np.ndarray, data: DataConfig, num_threads: int
    ):
        """Inspects nothing yet; ``used`` are the indices of the images that matter."""
        self.faults: dict[int, str] = {}  # by the index of the image
        self._images, self._data = images, data
        self._num_threads = num_threads
        self._is_done = np.ones(len(images), bool)
        self._is_done[used] = False
        self._checksums = np.zeros(len(images), "S32")
        self._expected = np.zeros(len(images), "S32")  # when the run began
        self._kept: dict[str, list[str]] = {}  # lines of missing or other files
        self._has_news = True  # the table on disk is not complete
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._num_working = 0

    def remember(self, path: Path) -> None:
        """Reads what an earlier start has inspected, and finds changed sizes."""
        self._has_news = False
        places = {as_written(file): i for i, file in enumerate(self._images.files)}
        for line in _read(path):
            file, num_bytes, modified, changed, checksum, fault = line
            index = places.get(file)
            self._kept[file] = line
            if index is None or self._is_done[index]:
                continue
            stats = int(num_bytes), int(modified), int(changed)
            if stats == tuple(self._images.stats[index]):
                del self._kept[file]
                self._checksums[index] = checksum.encode()
                self._is_done[index] = bool(checksum)
                if fault:
                    self.faults[index] = fault
            elif not fault:  # else it was not used, and may have been mended
                self._expected[index] = checksum.encode()
                if stats[0] != self._images.stats[index, 0]:
                    self.faults[index] = CHANGED
                    self._is_done[index] = True

    def run(
        self, indices: np.ndarray, screen: Screen, *, seconds: float | None = None
    ) -> None:
        """Inspects images, each process its part, for so many seconds at most."""
        left = indices[~self._is_done[indices]]
        own = left[processes.index() :: processes.count()].tolist()
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        found: list[tuple[int, str, str]] = []
        step = 8 * self._num_threads
        with (
            screen.progress("check", len(own)) as progress,
            ThreadPoolExecutor(self._num_threads) as pool,
        ):
            for start in range(0, len(own), step):
                part = own[start : start + step]
                answers = pool.map(self._inspect, part)
                for index, answer in zip(part, answers, strict=True):
                    found.append((index, *answer))
                    progress.advance()
                if time.monotonic() > deadline:
                    break
        for part in processes.gather(found):
            for index, checksum, fault in part:
                self._note(index, checksum, fault)

    def compare(self, indices: np.ndarray, screen: Screen) -> None:
        """Inspects only images that the run has read, if their times have changed."""
        self.run(indices[self._expected[indices] != b""], screen)

    def start(self, path: Path, screen: Screen) -> None:
        """Writes what is inspected, and inspects the rest beside the training."""
        if self._has_news:
            rows = map(self._row, range(len(self._images)))
            write_csv(path, [COLUMNS, *rows, *self._rows_of_missing()])
        left = self._left()
        if not left:
            return
        num_images = len(self._images)
        screen.say(
            "check",
            f"{num_images - len(left):,} of {num_images:,} images are intact; the rest"
            " is checked beside the training",
        )
        numbers = iter(left)
        file = path.open("a", newline="", encoding="utf-8", errors="backslashreplace")
        work = partial(self._work, numbers, file, screen)
        self._threads = [
            threading.Thread(target=work, daemon=True) for _ in range(self._num_threads)
        ]
        self._num_working = len(self._threads)
        for thread in self._threads:
            thread.start()

    def finish(self, screen: Screen) -> None:
        """Waits for what was started."""
        if not any(thread.is_alive() for thread in self._threads):
            return
        num_left = len(self._left())
        with screen.progress("check", num_left) as progress:
            while any(thread.is_alive() for thread in self._threads):
                time.sleep(0.1)
                before, num_left = num_left, len(self._left())
                for _ in range(before - num_left):
                    progress.advance()

    def _left(self) -> list[int]:
        return np.flatnonzero(~self._is_done).tolist()

    def _work(self, numbers: Iterator[int], file: IO[str], screen: Screen) -> None:
        """Inspects images until none is left; each answer is a line of the table."""
        if sys.platform == "linux":  # of this thread alone: the training comes first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        table = csv.writer(file)
        while True:
            with self._lock:
                index = next(numbers, None)
            if index is None:
                break
            answer = self._inspect(index)
            with self._lock:
                self._note(index, *answer)
                with contextlib.suppress(OSError):  # a full disk: read again next time
                    table.writerow(self._row(index))
            if index in self.faults:
                screen.warn(f"{self._images.name(index)}: {self.faults[index]}")
        with self._lock, contextlib.suppress(OSError):
            self._num_working -= 1
            if not self._num_working:
                file.close()

    def _inspect(self, index: int) -> tuple[str, str]:
        return inspect(self._images.name(index), self._data)

    def _note(self, index: int, checksum: str, fault: str) -> None:
        expected = self._expected[index].decode()
        self._checksums[index] = checksum.encode()
        if expected and checksum and checksum != expected:
            fault = CHANGED
        if fault:
            self.faults[index] = fault
        self._is_done[index] = self._has_news = True

    def _row(self, index: int) -> list[Any]:
        """Returns a line; a file that may be another keeps what the run has seen."""
        file, fault = self._images.files[index], self.faults.get(index, "")
        kept = self._kept.get(as_written(file))
        if kept and (fault or not self._is_done[index]):
            return kept
        stats, checksum = self._images.stats[index].tolist(), self._checksums[index]
        return [as_written(file), *stats, checksum.decode(), fault]

    def _rows_of_missing(self) -> list[list[str]]:
        present = set(map(as_written, self._images.files))
        return [line for file, line in self._kept.items() if file not in present]


def _read(path: Path) -> Iterator[list[str]]:
    """Yields the complete lines of a table that a kill may have cut."""
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        lines = csv.reader(file)
        next(lines, None)
        for line in lines:
            numbers = line[1:4]
            if len(line) == len(COLUMNS) and all(map(str.isdecimal, numbers)):
                yield line
