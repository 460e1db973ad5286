"""What the benchmarks share: workers that take turns, medians, tables, result files."""

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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PAUSE_SECONDS = 0.1  # after a turn, until the threads of its libraries sleep
BUSY_SHARE = 0.25  # of the cores in the load average, from which on a warning is due
MEMORY_INTERVAL_SECONDS = 0.2  # between two looks at the memory

console = Console(stderr=True, highlight=False, soft_wrap=True)


class WorkerError(Exception):
    """A worker ended before it answered; the message says why, in one line."""


class Worker:
    """A process of its own that times what it is asked to; see ``worker.py``."""

    def __init__(self, name: str, command: Sequence[str], **environment: str):
        """Starts the process, in the repository's root.

        Args:
          name: of the worker, for messages.
          command: its command line.
          **environment: variables that differ from this process's own; "" takes one
            away.
        """
        self.name = name
        changed = {**os.environ, **environment}
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env={key: value for key, value in changed.items() if value},
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

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
        last = (named or lines or [f"ended with status {status}"])[-1]
        raise WorkerError(last)

    def close(self) -> None:
        """Ends the process, and those that it has started."""
        self._kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._errors):
            with suppress(BrokenPipeError):  # of what was never read
                file.close()  # pyright: ignore[reportOptionalMemberAccess]

    def _kill(self) -> None:
        for process in reversed(_tree(self.pid)):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def our_worker(module: str, *words: str, **environment: str) -> Worker:
    """Starts one of this folder's workers with this Python and this project."""
    command = [sys.executable, str(HERE / f"{module}.py"), *words]
    return Worker("cnn_arch", command, PYTHONPATH=str(ROOT), **environment)


def peer_worker(name: str, python: str, module: str, **environment: str) -> Worker:
    """Starts one of this folder's workers with another environment's Python."""
    # A flag that is set for our side must not change the other.
    environment = {"PYTHONPATH": "", "XLA_FLAGS": "", **environment}
    return Worker(name, [python, str(HERE / f"{module}.py")], **environment)


def num_calls(call_seconds: float, at_least_seconds: float) -> int:
    """Returns how many calls take at least so long together; at least one."""
    return max(1, -int(-at_least_seconds // call_seconds))


def take_turns(
    turns: Mapping[Any, Callable[[], Any]], num_rounds: int, what: str
) -> dict[Any, list[Any]]:
    """Calls each of the functions once a round, one after the other.

    Args:
      turns: by the keys of the result.
      num_rounds: calls of each.
      what: is measured, for the progress line.

    Returns:
      What each function returned, in the order of the rounds.
    """
    measured: dict[Any, list[Any]] = {key: [] for key in turns}
    for number in range(num_rounds):
        console.print(f"{what}: round {number + 1} of {num_rounds}", style="dim")
        for key, turn in turns.items():
            measured[key].append(turn())
            time.sleep(PAUSE_SECONDS)
    return measured


def summarize(values: Iterable[float], digits: int = 1) -> dict[str, float]:
    """Returns median, least and greatest of the rounds."""
    values = sorted(values)
    return {
        "median": round(statistics.median(values), digits),
        "min": round(values[0], digits),
        "max": round(values[-1], digits),
    }


def compare(
    ours: Sequence[float], peer: Sequence[float], digits: int = 3
) -> tuple[float, list[float]]:
    """Compares the rates of rounds in which both took their turn.

    Returns:
      The median of ours over the median of the peer's; and the least and the greatest
      quotient of a round.
    """
    quotients = [our / its for our, its in zip(ours, peer, strict=True)]
    ratio = statistics.median(ours) / statistics.median(peer)
    spread = [round(min(quotients), digits), round(max(quotients), digits)]
    return round(ratio, digits), spread


def shown(summary: Mapping[str, float]) -> str:
    """Writes ``12.3 (11.9-12.8)``."""
    median, least, greatest = summary["median"], summary["min"], summary["max"]
    digits = 0 if median >= 1000 else 1 if median >= 10 else 2
    return f"{median:,.{digits}f} ({least:,.{digits}f}-{greatest:,.{digits}f})"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table on stdout; columns after the first are aligned to the right."""
    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # A file or a pipe has no width at which to cut.
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)


def machine() -> dict[str, Any]:
    """Describes what the benchmark runs on, and how busy it is before it starts."""
    with suppress(OSError), open("/proc/cpuinfo") as file:
        names = [line.partition(": ")[2] for line in file if "model name" in line]
    return {
        "processor": (names or [platform.machine()])[0].strip(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def header(what: str, num_rounds: int) -> dict[str, Any]:
    """Returns what every result file begins with."""
    words = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    described = machine()
    if described["load_average"] > BUSY_SHARE * (described["cores"] or 1):
        console.print(
            f"warning: other programs are at work (load {described['load_average']}): "
            "the numbers will not be those of a quiet machine",
            style="yellow",
        )
    return {
        "what": what,
        "command": shlex.join(["python", *sys.argv]),
        "date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "commit": commit.stdout.strip(),
        "rounds": num_rounds,
        "machine": described,
    }


def result_path(name: str, output: str | None, folder: Path = HERE / "results") -> Path:
    """Returns where results go: NAME-DATE.json, numbered if that is there."""
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


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def memory_bytes(pid: int) -> int:
    """Returns the memory of a process and of its children; shared pages count once."""
    total = 0
    for process in _tree(pid):
        with suppress(psutil.NoSuchProcess):
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.rss)  # Linux alone knows the PSS
    return total


@contextmanager
def peak_memory(pid: int):
    """Looks at the memory of a process tree now and then; yields [the greatest]."""
    peak, done = [memory_bytes(pid)], threading.Event()

    def look() -> None:
        while not done.wait(MEMORY_INTERVAL_SECONDS):
            peak[0] = max(peak[0], memory_bytes(pid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
