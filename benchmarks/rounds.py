"""The parts that all benchmarks share: options, workers, medians, tables, results."""

import argparse
import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PAUSE_SECONDS = 0.1  # after a turn: the threads of its libraries fall asleep
BUSY_SHARE = 0.25  # load average / cores above which the machine is not quiet

console = Console(stderr=True, highlight=False, soft_wrap=True)


def make_parser(
    doc: str | None, name: str, num_rounds: int = 5
) -> argparse.ArgumentParser:
    """Returns a benchmark's parser with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(
        description=doc,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=num_rounds)
    default = f"benchmarks/results/{name}-DATE.json"
    parser.add_argument("--output", help=f"default: {default}")
    return parser


def parse_with_settings(
    parser: argparse.ArgumentParser,
) -> tuple[argparse.Namespace, list[str]]:
    """Returns the options, and the words ``--config.KEY=VALUE``."""
    options, words = parser.parse_known_args()
    for word in words:
        if not word.startswith("--config."):
            parser.error(f"{word}: no such option; see --help")
    return options, words


class WorkerError(Exception):
    """A worker ended before it answered; the message is the reason, in one line."""


class Worker:
    """A process that does and times the work of one side; see ``worker.py``."""

    def __init__(self, command: Sequence[str], **environment: str):
        """Starts the process in the repository's root.

        Args:
          command: its command line.
          **environment: variables to change; "" removes one.
        """
        changed = {**os.environ, **environment}
        self._errors = tempfile.TemporaryFile("w+")  # a pipe could fill and block
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env={key: value for key, value in changed.items() if value},
        )
        self.pid = self._process.pid

    def ask(self, message: Mapping[str, Any], limit_seconds: float = 1e6) -> dict:
        """Sends a message and waits for its answer.

        Raises:
          WorkerError: the process ended, or did not answer within the limit.
        """
        assert self._process.stdin and self._process.stdout
        line, late = "", threading.Event()
        timer = threading.Timer(limit_seconds, lambda: (late.set(), self._kill()))
        timer.start()
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        timer.cancel()
        if line:
            return json.loads(line)
        if late.is_set():
            raise WorkerError(f"no answer in {limit_seconds:g} s")
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        # JAX ends its tracebacks with lines about themselves.
        named = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
        raise WorkerError((named or lines or [f"ended with status {status}"])[-1])

    def close(self) -> None:
        """Ends the process and its children."""
        self._kill()
        self._process.communicate()  # closes its pipes
        self._errors.close()

    def _kill(self) -> None:
        for process in reversed(process_tree(self.pid)):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def process_tree(pid: int) -> list[psutil.Process]:
    """Returns a process and its children; none if it has ended."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def our_worker(module: str, **environment: str) -> Worker:
    """Starts a worker of this folder with this Python and this project."""
    command = [sys.executable, str(HERE / f"{module}.py")]
    return Worker(command, PYTHONPATH=str(ROOT), **environment)


def peer_worker(python: str, module: str) -> Worker:
    """Starts a worker of this folder with the Python of another environment."""
    # Flags for our side must not change the other side.
    command = [python, str(HERE / f"{module}.py")]
    return Worker(command, PYTHONPATH="", XLA_FLAGS="")


def open_side(
    stack: ExitStack, name: str, worker: Worker, case: Mapping[str, Any]
) -> dict[str, Any]:
    """Prepares a worker for a case; returns its facts, or the ``error`` of a peer.

    Raises:
      SystemExit: our own side failed, so there is nothing to compare.
    """
    stack.callback(worker.close)
    try:
        return worker.ask(case)
    except WorkerError as error:
        if name == "cnn_arch":
            raise SystemExit(f"error: {error}") from None
        console.print(f"{name}: left out: {error}", style="yellow")
        return {"error": str(error)}


def num_calls(call_seconds: float, at_least_seconds: float) -> int:
    """Returns how many calls fill the seconds; at least one."""
    return max(1, -int(-at_least_seconds // call_seconds))


def take_turns(
    turns: Mapping[Any, Callable[[], Any]], num_rounds: int, what: str
) -> dict[Any, list[Any]]:
    """Calls each function once a round, one after the other.

    Returns:
      The results of each function by its key, in the order of the rounds.
    """
    measured: dict[Any, list[Any]] = {key: [] for key in turns}
    for number in range(num_rounds):
        console.print(f"{what}: round {number + 1} of {num_rounds}", style="dim")
        for key, turn in turns.items():
            measured[key].append(turn())
            time.sleep(PAUSE_SECONDS)
    return measured


def summarize(values: Iterable[float], digits: int = 1) -> dict[str, float]:
    """Returns median, minimum and maximum of the rounds."""
    values = sorted(values)
    return {
        "median": round(statistics.median(values), digits),
        "min": round(values[0], digits),
        "max": round(values[-1], digits),
    }


def compare(ours: Sequence[float], peer: Sequence[float]) -> tuple[float, list[float]]:
    """Compares the rates of two sides in the same rounds.

    Returns:
      Our median over the peer's median; and the minimum and maximum of this ratio in a
      single round.
    """
    ratios = [our / its for our, its in zip(ours, peer, strict=True)]
    ratio = statistics.median(ours) / statistics.median(peer)
    return round(ratio, 3), [round(min(ratios), 3), round(max(ratios), 3)]


def shown(summary: Mapping[str, float]) -> str:
    """Returns a summary as ``12.3 (11.9-12.8)``."""
    median = summary["median"]
    digits = 0 if median >= 1000 else 1 if median >= 10 else 2
    low, high = summary["min"], summary["max"]
    return f"{median:,.{digits}f} ({low:,.{digits}f}-{high:,.{digits}f})"


def shown_ratio(ratio: float, spread: Sequence[float]) -> str:
    """Returns a ratio as ``1.23 (1.19-1.28)``."""
    return f"{ratio:.2f} ({spread[0]:.2f}-{spread[1]:.2f})"


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], path: Path
) -> None:
    """Prints a table on stdout, then the path of the results."""
    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # A file or a pipe has no width, so nothing needs to be cut there.
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)
    print(f"wrote    {path}")


def header(what: str, num_rounds: int) -> dict[str, Any]:
    """Returns the first part of every result file; warns if the machine is busy."""
    words = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    found = machine()
    load = found["load_average"]
    if load > BUSY_SHARE * found["cores"]:
        console.print(
            f"warning: other programs are running (load {load}): on a quiet machine "
            "the numbers would differ",
            style="yellow",
        )
    return {
        "what": what,
        "command": shlex.join(["python", *sys.argv]),
        "date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "commit": commit.stdout.strip(),
        "rounds": num_rounds,
        "machine": found,
    }


def machine() -> dict[str, Any]:
    """Returns what a result file says of the machine."""
    sys.path.append(str(ROOT))  # a benchmark may be run as a file
    from cnn_arch import processor

    return {
        "processor": processor.name(),
        "vector_unit": processor.vector_unit(),
        "cores": os.cpu_count() or 1,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def result_path(name: str, output: str | None, folder: Path = HERE / "results") -> Path:
    """Returns the path of the results: NAME-DATE.json, or the next NAME-DATE-N.json."""
    if output:
        return Path(output)
    day = f"{name}-{time.strftime('%Y-%m-%d', time.gmtime())}"
    path, number = folder / f"{day}.json", 1
    while path.exists():
        number += 1
        path = folder / f"{day}-{number}.json"
    return path


def write(path: Path, results: Mapping[str, Any]) -> None:
    """Writes the results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
