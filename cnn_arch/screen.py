"""What a command shows: labelled lines, warnings, progress; and its log file.

Results go to stdout, progress and warnings to stderr. Nothing here imports JAX, so that
the first line is on the screen at once.
"""

import logging
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

MAX_WARNINGS = 3  # on the screen in one run; log.txt holds all
PLAIN_INTERVAL_SECONDS = 30.0  # between progress lines where there is no terminal

log = logging.getLogger("cnn_arch")


class Screen:
    """Prints a command's lines and keeps them, with timestamps, in its log file."""

    def __init__(self, *, quiet: bool = False, json: bool = False, muted: bool = False):
        """Makes a screen.

        Args:
          quiet: show the last line only.
          json: stdout is kept for one JSON object; lines go to stderr.
          muted: show nothing: another process of the run does.
        """
        self._quiet = quiet or muted
        self._muted = muted
        self._json = json
        self._num_warnings = 0

    @property
    def _out(self) -> TextIO:
        """Where lines go; asked for each time, as processes.start moves stdout."""
        return sys.stderr if self._json else sys.stdout

    def log_to(self, path: Path) -> None:
        """Sends every line from now on, and what libraries log, to a file as well."""
        handler = logging.NullHandler() if self._muted else logging.FileHandler(path)
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s")
        )
        root = logging.getLogger()
        for old in root.handlers[:]:  # the harmless lines of libraries: off the screen
            root.removeHandler(old)
        root.addHandler(handler)
        root.setLevel(logging.WARNING)
        log.setLevel(logging.INFO)
        logging.captureWarnings(True)

    def say(self, label: str, text: str, *, last: bool = False) -> None:
        """Prints a label and a value in their columns; ``last`` even when quiet."""
        self.row(f"{label:<9}{text}", last=last)

    def row(self, text: str = "", *, last: bool = False) -> None:
        """Prints a line as it is."""
        log.info("%s", text)
        if not self._quiet or (last and not self._muted):
            print(text, file=self._out, flush=True)

    def warn(self, text: str) -> None:
        """Prints a warning, if there were not too many already."""
        log.warning("%s", text)
        if self._muted:
            return
        self._num_warnings += 1
        if self._num_warnings <= MAX_WARNINGS:
            print(f"warning: {text}", file=sys.stderr, flush=True)
        elif self._num_warnings == MAX_WARNINGS + 1:
            print("warning: more in log.txt", file=sys.stderr, flush=True)

    @contextmanager
    def timed(self, label: str, text: str) -> Iterator[None]:
        """Says what is about to take long, and afterwards how long it took."""
        start = time.monotonic()
        if self.is_terminal:
            print(f"{label:<9}{text} ...", end="\r", file=self._out, flush=True)
        yield
        self.say(label, f"{text} ... {time.monotonic() - start:.1f} s")

    @property
    def is_quiet(self) -> bool:
        """Whether only the last line is shown."""
        return self._quiet

    @property
    def is_terminal(self) -> bool:
        """Whether lines can be drawn over: a terminal, and not quiet."""
        return not self._quiet and self._out.isatty()

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator["Progress"]:
        """Shows a bar on a terminal, elsewhere a plain line now and then.

        Args:
          label: what goes on, such as ``epoch 3``.
          total: steps in all.
        """
        if self._quiet or not sys.stderr.isatty():
            yield Progress(label, total, shown=not self._quiet)
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar

        columns: list[Any] = [
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
        ]
        console = Console(stderr=True)
        with Bar(*columns, console=console, transient=True) as bar:
            task = bar.add_task(label, total=total, note="")
            yield Progress(label, total, bar=(bar, task))


class Progress:
    """Counts steps on whatever the screen shows."""

    def __init__(self, label: str, total: int, *, shown: bool = True, bar: Any = None):
        """Makes a counter; ``Screen.progress`` calls this."""
        self._label, self._total, self._shown, self._bar = label, total, shown, bar
        self._done = 0
        self._start = self._last_shown = time.monotonic()

    def advance(self, note: str = "") -> None:
        """Counts a step; ``note`` is shown beside the count."""
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
    """Writes a duration as 0:05, 12:34 or 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def printable(text: str, columns: int | None = None) -> str:
    """Returns the text in one line of visible characters.

    Line breaks, control characters, direction marks and undecodable bytes become "?".

    Args:
      text: any string, also one with surrogates from a file name that is not UTF-8.
      columns: where given, the text is cut to this width and ends in an ellipsis; East
        Asian wide characters count two.
    """
    line = "".join(char if char.isprintable() else "?" for char in text)
    if columns is None or _width(line) <= columns:
        return line
    while _width(line) > columns - 1:
        line = line[:-1]
    return line.rstrip() + "…"


def _width(text: str) -> int:
    return sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in text)
