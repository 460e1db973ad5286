"""The output of a command: labelled lines, warnings, progress; and its log file.

Results go to stdout, progress and warnings to stderr. This module does not import JAX:
the first line must appear at once.
"""

import logging
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

MAX_WARNINGS = 3  # on the screen in one run; log.txt has all
PLAIN_INTERVAL_SECONDS = 30.0  # between progress lines without a terminal

log = logging.getLogger("cnn_arch")


class Screen:
    """Prints a command's lines, and writes them with timestamps to its log file."""

    def __init__(self, *, quiet: bool = False, json: bool = False, muted: bool = False):
        """Makes a screen.

        Args:
          quiet: print the last line only.
          json: lines go to stderr; stdout is for one JSON object.
          muted: print nothing: another process of the run prints.
        """
        self.is_quiet = quiet or muted  # only the last line is printed
        self._muted = muted
        self._json = json
        self._num_warnings = 0

    @property
    def _out(self) -> TextIO:
        # Not stored: processes.start replaces sys.stdout.
        return sys.stderr if self._json else sys.stdout

    def log_to(self, path: Path) -> None:
        """Also writes all lines from now on, and the logs of libraries, to a file."""
        handler = logging.NullHandler() if self._muted else logging.FileHandler(path)
        logging.basicConfig(
            format="%(asctime)s %(name)s %(levelname)s %(message)s",
            level=logging.WARNING,
            handlers=[handler],
            force=True,  # keeps lines of libraries off the screen
        )
        log.setLevel(logging.INFO)
        logging.captureWarnings(True)

    def say(self, label: str, text: str, *, last: bool = False) -> None:
        """Prints a label and a value in columns; a ``last`` line even when quiet."""
        self.row(f"{label:<9}{text}", last=last)

    def row(self, text: str = "", *, last: bool = False) -> None:
        """Prints a line without a label."""
        log.info("%s", text)
        if not self.is_quiet or (last and not self._muted):
            print(text, file=self._out, flush=True)

    def warn(self, text: str) -> None:
        """Prints a warning; after ``MAX_WARNINGS`` it only logs them."""
        log.warning("%s", text)
        self._num_warnings += 1
        if self._muted or self._num_warnings > MAX_WARNINGS + 1:
            return
        shown = text if self._num_warnings <= MAX_WARNINGS else "more in log.txt"
        print(f"warning: {shown}", file=sys.stderr, flush=True)

    @contextmanager
    def timed(self, label: str, text: str) -> Iterator[None]:
        """Prints what takes long before it starts, and its seconds afterwards."""
        start = time.monotonic()
        if self.is_terminal:
            print(f"{label:<9}{text} ...", end="\r", file=self._out, flush=True)
        yield
        self.say(label, f"{text} ... {time.monotonic() - start:.1f} s")

    @property
    def is_terminal(self) -> bool:
        """Whether lines can be overwritten: on a terminal, and not quiet."""
        return not self.is_quiet and self._out.isatty()

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator["Progress"]:
        """Shows a bar on a terminal, elsewhere a plain line now and then."""
        if self.is_quiet or not sys.stderr.isatty():
            yield Progress(label, total, shown=not self.is_quiet)
            return
        from rich import progress
        from rich.console import Console

        bar = progress.Progress(
            progress.TextColumn("{task.description:<9}"),
            progress.BarColumn(bar_width=30),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[note]}"),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        with bar:
            task = bar.add_task(label, total=total, note="")
            yield Progress(label, total, bar=(bar, task))


class Progress:
    """Counts steps, on a bar or in plain lines."""

    def __init__(self, label: str, total: int, *, shown: bool = True, bar: Any = None):
        """Makes a counter; ``Screen.progress`` calls this."""
        self._label, self._total, self._shown, self._bar = label, total, shown, bar
        self._done = 0
        self._start = self._last_shown = time.monotonic()

    def advance(self, note: str = "") -> None:
        """Counts a step; prints ``note`` next to the count."""
        self._done += 1
        if self._bar:
            bar, task = self._bar
            bar.update(task, advance=1, note=note)
            return
        now = time.monotonic()
        if self._shown and now - self._last_shown > PLAIN_INTERVAL_SECONDS:
            self._last_shown = now
            left = (now - self._start) / self._done * (self._total - self._done)
            print(
                f"{self._label:<9}{self._done} of {self._total}  {note}  "
                f"{clock(left)} left",
                file=sys.stderr,
                flush=True,
            )


def clock(seconds: float) -> str:
    """Returns a duration as 0:05, 12:34 or 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def printable(text: str, columns: int | None = None) -> str:
    """Returns the text in one line of visible characters.

    Line breaks, control characters, direction marks and undecodable bytes become "?".

    Args:
      text: any string; a file name that is not UTF-8 has surrogates.
      columns: longer text is cut to this width and ends in an ellipsis; East Asian wide
        characters count two.
    """
    line = "".join(char if char.isprintable() else "?" for char in text)
    if columns is None or _width(line) <= columns:
        return line
    while _width(line) > columns - 1:
        line = line[:-1]
    return line.rstrip() + "…"


def _width(text: str) -> int:
    return sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in text)
