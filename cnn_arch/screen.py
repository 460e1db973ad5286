"""The output of a command: labelled lines, warnings, progress; and its log file.

Results go to stdout, progress and warnings to stderr. This module does not import JAX:
the first line must appear at once.
"""

import io
import logging
import logging.handlers
import os
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

MAX_WARNINGS = 3  # on the screen in one run; log.txt has all
MAX_ECHO = 200  # characters of a value in an error or a warning
MAX_MESSAGE = 1000  # characters of an error or a warning
PLAIN_INTERVAL_SECONDS = 30.0  # between progress lines without a terminal

log = logging.getLogger("cnn_arch")


def prepare_streams() -> None:
    """Makes stdout and stderr safe to print to, whatever the caller made of them.

    A closed stream leads nowhere. A character outside a stream's encoding is escaped.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:  # closed; a file of the run must not get its number
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def collect_log() -> None:
    """Keeps all lines and the messages of libraries for the log file, off the screen.

    The file cannot exist before the run's directory does: see ``Screen.log_to``.
    """
    _log_with(logging.handlers.MemoryHandler(10**6, flushLevel=logging.CRITICAL + 1))


def _log_with(handler: logging.Handler) -> None:
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log.setLevel(logging.INFO)
    logging.captureWarnings(True)


class _Format(logging.Formatter):
    """Writes a record with its time; control characters are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the text of a record, which may have several lines."""
        return "\n".join(map(printable, super().format(record).split("\n")))


class _LogFile(logging.FileHandler):
    """A log file; a failure to write to it is printed once and ends nothing."""

    _has_failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Prints why a line was not written, in place of a traceback."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._has_failed:
            self._has_failed = True
            text = f"{self.baseFilename}: lines are missing there ({error.strerror})"
            put(f"warning: {one_line(text)}", sys.stderr)


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
        """Writes all lines, those before too, and the logs of libraries to a file."""
        handler: logging.Handler = logging.NullHandler()
        if not self._muted:
            handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
        handler.setFormatter(_Format("%(asctime)s %(name)s %(levelname)s %(message)s"))
        for early in logging.root.handlers:
            if isinstance(early, logging.handlers.MemoryHandler):
                early.setTarget(handler)
                early.flush()
        _log_with(handler)

    def say(self, label: str, text: str, *, last: bool = False) -> None:
        """Prints a label and a value in columns; a ``last`` line even when quiet."""
        self.row(f"{label:<9}{text}", last=last)

    def row(self, text: str = "", *, last: bool = False) -> None:
        """Prints a line without a label."""
        text = printable(text)
        log.info("%s", text)
        if not self.is_quiet or (last and not self._muted):
            put(text, self._out)

    def warn(self, text: str) -> None:
        """Prints a warning; after ``MAX_WARNINGS`` it only logs them."""
        text = one_line(text)
        log.warning("%s", text)
        self._num_warnings += 1
        if self._muted or self._num_warnings > MAX_WARNINGS + 1:
            return
        shown = text if self._num_warnings <= MAX_WARNINGS else "more in log.txt"
        put(f"warning: {shown}", sys.stderr)

    @contextmanager
    def timed(self, label: str, text: str) -> Iterator[None]:
        """Prints what takes long before it starts, and its seconds afterwards."""
        start = time.monotonic()
        if self.is_terminal:
            put(f"{label:<9}{text} ...", self._out, end="\r")
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
            progress.TextColumn("{task.description:<8}"),
            progress.BarColumn(bar_width=30),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[note]}"),
            progress.TimeRemainingColumn(),
            console=Console(file=careful(sys.stderr)),
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
            text = f"{self._label:<8} {self._done} of {self._total}  {note}  "
            text += f"{clock(left)} left"
            log.info("%s", text)
            put(text, sys.stderr)


def put(text: str, stream: TextIO, end: str = "\n") -> None:
    """Prints a line; nothing that happens to the reader ends the command.

    Once the reader has gone (``| head``, a closed terminal) or the disk of the output
    is full, the stream leads nowhere, and only the log has the lines.
    """
    try:
        print(text, file=stream, end=end, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        log.warning("output %d: %s; no more lines go there", stream.fileno(), error)


class _Careful:
    """A stream that ignores the loss of its reader, as ``put`` does."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        put(text, self._stream, end="")
        return len(text)

    def flush(self) -> None:
        """Does nothing: ``put`` has flushed."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def careful(stream: TextIO) -> Any:
    """Returns a stream for rich: a closed terminal does not end the command."""
    return _Careful(stream)


def clock(seconds: float) -> str:
    """Returns a duration as 0:05, 12:34 or 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def printable(text: str, columns: int | None = None) -> str:
    r"""Returns the text in one line of visible characters.

    Line breaks, control characters, direction marks and bytes that are not UTF-8 are
    escaped: ``\n``, ``\x1b``, ``\u202e``, ``\xff``.

    Args:
      text: any string; a file name that is not UTF-8 has surrogates.
      columns: longer text is cut to this width and ends in an ellipsis; East Asian wide
        characters count two.
    """
    if columns is not None:
        text = text[: columns + 1]  # more does not fit: each character takes a column
    line = "".join(char if char.isprintable() else _escape(char) for char in text)
    if columns is None or _width(line) <= columns:
        return line
    while _width(line) > columns - 1:
        line = line[:-1]
    return line.rstrip() + "…"


def _escape(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # Python's sign for a byte that is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()


def one_line(message: str) -> str:
    """Returns a message in one line of visible characters, its long values cut.

    Each word of the command line, each value in it, and each other word of the message
    is cut to ``MAX_ECHO`` characters, the whole message to ``MAX_MESSAGE``.
    """
    message = printable(message)
    given = [printable(word) for word in sys.argv]
    values = {*given, *(word.partition("=")[2] for word in given), *message.split(" ")}
    for value in sorted(values, key=len, reverse=True):
        if len(value) > MAX_ECHO:
            message = message.replace(value, _cut(value, MAX_ECHO))
    return _cut(message, MAX_MESSAGE)


def _cut(text: str, length: int) -> str:
    """Replaces the middle of a longer text by an ellipsis."""
    if len(text) <= length:
        return text
    end = length // 4
    return f"{text[: length - end - 1]}…{text[-end:]}"


def _width(text: str) -> int:
    return sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in text)
