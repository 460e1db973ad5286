"""What the commands share: their options, and how they end.

Exit status: 0 done, or stopped by the scheduler with all saved; 1 a run that failed;
2 a mistake of the user; 130 stopped by Ctrl-C.
"""

import argparse
import dataclasses
import errno
import logging
import os
import runpy
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from cnn_arch import __version__, installation
from cnn_arch.errors import RunError, UsageError
from cnn_arch.parallel import processes
from cnn_arch.parallel.launcher import ALONE, Process
from cnn_arch.screen import Screen


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose mistakes are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        """Ends the command with that one line."""
        print(f"error: {message}; see --help", file=sys.stderr)
        raise SystemExit(UsageError.exit_status)


def parser(description: str | None, examples: str) -> Parser:
    """Makes a command's parser with the options that all commands have.

    Args:
      description: what the command does, in its first line.
      examples: lines that can be pasted; shown by --help and without arguments.
    """
    made = Parser(
        prog=installation.program(),
        description=(description or "").partition("\n")[0],
        epilog=f"examples:\n{installation.examples(examples)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--quiet", action="store_true", help="show the last line only")
    made.add_argument(
        "--traceback", action="store_true", help="show where in the program it failed"
    )
    made.add_argument("--version", action="version", version=f"cnn_arch {__version__}")
    return made


def main() -> NoReturn:
    """``cnn-arch COMMAND ...``: runs a command of an installed package."""
    name, *words = sys.argv[1:] or ["--help"]
    if name == "--version":
        print(f"cnn_arch {__version__}")
    elif name in ("--help", "-h"):
        print(f"usage: cnn-arch {{{','.join(installation.COMMANDS)}}} ...\n")
        print("each with --help, and without options, shows examples")
    elif name not in installation.COMMANDS:
        known = ", ".join(installation.COMMANDS)
        print(f"error: {name}: no such command; there are {known}", file=sys.stderr)
        raise SystemExit(UsageError.exit_status)
    else:
        sys.argv = [str(installation.ROOT / f"{name}.py"), *words]
        runpy.run_path(sys.argv[0], run_name="__main__")
    raise SystemExit(0)


@dataclasses.dataclass
class Ending:
    """How a command ends, by what it has found out so far."""

    show_traceback: bool = False
    process: Process = ALONE
    crash_folder: Path | None = None  # where a crash is recorded

    def fail(self, message: str, status: int, *, keep: bool) -> NoReturn:
        """Prints the one line; keeps the traceback of a run that failed."""
        trace, folder = traceback.format_exc(), self.crash_folder
        if self.show_traceback:
            print(trace, file=sys.stderr)
        elif keep and folder:
            try:
                index = self.process.index
                path = folder / (f"crash-{index}.txt" if index else "crash.txt")
                path.write_text(trace)
                message += f" (details: {path})"
            except OSError:  # a full disk, most likely; the line below is still shown
                pass
        if self.process.count > 1:
            message = f"process {self.process.index}: {message}"
        if folder:  # and with it log.txt
            logging.getLogger("cnn_arch").error("%s", message)
        print(f"error: {message}", file=sys.stderr, flush=True)
        self.exit(status)

    def exit(self, status: int) -> NoReturn:
        """Ends the process; where there are others, without waiting for them.

        JAX would wait at exit until all have come to the same point.
        """
        if self.process.count > 1:
            sys.stdout.flush()
            os._exit(status)
        raise SystemExit(status)


Main = Callable[[argparse.Namespace, list[str], Ending], int]


def run(main: Main, parser: Parser) -> NoReturn:
    """Runs a command and ends the process with its status.

    Args:
      main: takes the parsed options, the words that are not options, and what decides
        how it ends; returns the exit status.
      parser: the command's own.
    """
    if len(sys.argv) == 1:
        print(parser.format_help(), file=sys.stderr)
        raise SystemExit(UsageError.exit_status)
    options, words = parser.parse_known_args()
    ending = Ending(options.traceback)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before JAX is imported
    try:
        raise SystemExit(main(options, words, ending))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        ending.exit(130)
    except BrokenPipeError:  # the reader of our output, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except UsageError as error:
        ending.fail(str(error), error.exit_status, keep=False)
    except RunError as error:
        ending.fail(str(error), error.exit_status, keep=True)
    except Exception as error:
        ending.fail(_in_one_line(error), RunError.exit_status, keep=True)


def say_next(screen: Screen, *commands: str) -> None:
    """Ends a command with those that may follow, to be pasted."""
    screen.row()
    for number, line in enumerate(commands):
        screen.say("" if number else "Next:", line)


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return (
            f"{error.filename or 'a file of the run'}: the disk is full; free some "
            "space, and the same command goes on from the last checkpoint"
        )
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if "RESOURCE_EXHAUSTED" in text or isinstance(error, MemoryError):
        return f"out of memory: try a smaller --config.batch_size ({text[:200]})"
    lost = processes.explain_loss(error)
    if lost:
        return f"{lost}; the same command goes on from the last checkpoint"
    return f"{type(error).__name__}: {text[:300]}"
