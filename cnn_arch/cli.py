"""The parts that all commands share: their options and their exit status.

Exit status: 0 done, or stopped by the scheduler with everything saved; 1 the run
failed; 2 the input was wrong; 130 stopped by Ctrl-C.
"""

import argparse
import contextlib
import dataclasses
import errno
import logging
import os
import runpy
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from cnn_arch import __version__, command_line, installation
from cnn_arch.command_line import Parser
from cnn_arch.errors import RunError, UsageError
from cnn_arch.parallel import processes
from cnn_arch.parallel.launcher import ALONE, Process
from cnn_arch.run_directory import Run
from cnn_arch.screen import (
    Screen,
    collect_log,
    one_line,
    prepare_streams,
    printable,
    put,
)


def main() -> NoReturn:
    """``cnn-arch COMMAND ...``: runs a command of an installed package."""
    prepare_streams()
    name, *words = sys.argv[1:] or ["--help"]
    if name == "--version":
        print(f"cnn_arch {__version__}")
    elif name in ("--help", "-h"):
        print(f"usage: cnn-arch {{{','.join(installation.COMMANDS)}}} ...\n")
        print("a command with --help, or without options, shows examples")
    elif name not in installation.COMMANDS:
        known = ", ".join(installation.COMMANDS)
        message = one_line(f"{name}: no such command; there are {known}")
        put(f"error: {message}", sys.stderr)
        raise SystemExit(UsageError.exit_status)
    else:
        sys.argv = [str(installation.ROOT / f"{name}.py"), *words]
        runpy.run_path(sys.argv[0], run_name="__main__")
    raise SystemExit(0)


@dataclasses.dataclass
class Ending:
    """The way a command ends; the command fills in what it learns on its way."""

    show_traceback: bool = False
    process: Process = ALONE
    run: Run | None = None  # None: no run was opened yet
    # Closed at the end: the lock of the run's directory, and the directory if empty.
    cleanup: contextlib.ExitStack = dataclasses.field(
        default_factory=contextlib.ExitStack
    )

    def fail(self, message: str, status: int) -> NoReturn:
        """Prints the one line; writes the traceback of a failed run to a file."""
        folder = self.run and self.run.workdir
        if self.run and status == RunError.exit_status:
            try:
                self.run.check(now=True)
            except RunError as lost:  # which explains any other error
                message, folder = str(lost), None
        message = one_line(message)
        trace = "\n".join(map(printable, traceback.format_exc().split("\n")))
        if self.show_traceback:
            put(trace, sys.stderr)
        elif folder and status == RunError.exit_status:
            with contextlib.suppress(OSError):  # a full disk; print the line anyway
                index = self.process.index
                path = folder / (f"crash-{index}.txt" if index else "crash.txt")
                path.write_text(trace, encoding="utf-8")
                message += f" (details: {printable(str(path))})"
        if self.process.count > 1:
            message = f"process {self.process.index}: {message}"
        if self.run:  # log.txt is open too
            logging.getLogger("cnn_arch").error("%s", message)
        put(f"error: {message}", sys.stderr)
        self.exit(status)

    def exit(self, status: int) -> NoReturn:
        """Ends the process."""
        self.cleanup.close()
        if self.process.count > 1:
            # At a normal exit JAX would wait for the other processes.
            sys.stdout.flush()
            os._exit(status)
        raise SystemExit(status)


# Takes the options, the other words and an Ending; returns the exit status.
Main = Callable[[argparse.Namespace, list[str], Ending], int]


def _ignore_late_signals() -> None:
    """Lets no signal that the command handled fail it after its work is done.

    Python takes its handlers away before the process has ended, and a scheduler would
    see a failed job.
    """
    for number in signal.valid_signals() - {signal.SIGINT}:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_IGN)


def run(main: Main, parser: Parser, *, needs_words: bool = True) -> NoReturn:
    """Runs a command's ``main`` and ends the process with its status.

    A command that ``needs_words`` shows its help when it is called without any.
    """
    _use_utf8()
    prepare_streams()
    if needs_words and len(sys.argv) == 1:
        put(parser.format_help(), sys.stderr)
        raise SystemExit(UsageError.exit_status)
    sys.argv[1:] = map(_expand_home, sys.argv[1:])
    ending = Ending(show_traceback="--traceback" in sys.argv)
    collect_log()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before JAX is imported
    try:
        options, words = command_line.read(parser)
        status = main(options, words, ending)
        sys.stdout.flush()  # here, so that a reader that has ended is noticed
        _ignore_late_signals()
        raise SystemExit(status)
    except KeyboardInterrupt:
        logging.getLogger("cnn_arch").info("stopped")
        put("stopped", sys.stderr)
        ending.exit(130)
    except BrokenPipeError:  # the program that reads our output, such as head, ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except (UsageError, RunError) as error:
        ending.fail(str(error), error.exit_status)
    except Exception as error:
        ending.fail(_in_one_line(error), RunError.exit_status)
    finally:
        ending.cleanup.close()


def _use_utf8() -> None:
    """Starts the command again if the locale would decode file names differently.

    Names of classes and files would not be those of a run in another locale, and some
    libraries accept only paths of UTF-8.
    """
    is_tried = os.environ.get("PYTHONUTF8") == "1"
    if sys.getfilesystemencoding() != "utf-8" and not is_tried:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _expand_home(word: str) -> str:
    """Replaces ``~`` where a shell does not: after the = of an option."""
    option, equals, value = word.partition("=")
    if option.startswith("--"):
        return option + equals + os.path.expanduser(value)
    return os.path.expanduser(word)


def say_next(screen: Screen, *commands: str) -> int:
    """Prints commands to paste that may follow; returns the status of a success."""
    screen.row()
    for number, line in enumerate(commands):
        screen.say("" if number else "Next:", line)
    return 0


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    again = "repeat the command to continue from the last checkpoint"
    if isinstance(error, OSError) and error.strerror:
        name = error.filename or "a file of the run"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            full = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
            return f"{name}: {full}; free some space, then {again}"
        fix = "" if error.filename else f"; {again}"
        return f"{name}: {error.strerror}{fix}"
    if "RESOURCE_EXHAUSTED" in text or isinstance(error, MemoryError):
        fix = "try a larger --config.accumulate, or a smaller --config.batch_size"
        return f"out of memory: {fix} ({text[:200]})"
    if lost := processes.explain_loss(error):
        return f"{lost}; {again}"
    return f"{type(error).__name__}: {text[:300]}"
