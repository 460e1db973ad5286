"""Commands of the checkout in processes whose imports are already done.

A process is forked from a server that has imported everything, runs the command's file
as ``__main__``, and can be killed like any other. It starts in a tenth of the time.
"""

import atexit
import ctypes
import multiprocessing
import os
import resource
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# Unoptimised programs compile fast, and JAX can keep them on disk for the next start.
XLA_FLAGS = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_parallel_codegen_split_count=1"
)
LIMIT_SECONDS = 120  # of a command; it takes about two
PRELOADED = ["tests.campaign.preload"]
KILL, KILL_IN_THE_MIDDLE = -1, -2  # actions of shim.c; others are numbers of errors

_context = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Plan:
    """What happens at a file-system call below a folder; see shim.c."""

    folder: Path
    log: Path  # gets a line for each call
    call: int = 0  # from 1; 0: none
    action: int = KILL


@dataclass
class Ended:
    """A command that has ended."""

    status: int  # negative: the signal; LIMIT_SECONDS are over: -9 and `is_late`
    out: str
    err: str
    is_late: bool = False
    words: Sequence[str] = field(default_factory=list)
    peak_bytes: int = 0  # of memory; 0: it was killed

    @property
    def errors(self) -> list[str]:
        """The lines that report an error."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]

    def fault(self) -> str:
        """Returns what is wrong with the way it ended; "" if nothing is."""
        if self.is_late:
            return f"hang: no end after {LIMIT_SECONDS} s"
        if "Traceback" in self.err + self.out:
            return f"traceback: {self.err.strip().splitlines()[-1][:200]}"
        if self.status == 0:
            return ""
        if self.status < 0:
            return f"ended by signal {-self.status}"
        if self.status in (1, 2) and len(self.errors) != 1:
            return f"{len(self.errors)} error lines, status {self.status}"
        internal = "Error: ", "Exception: "
        if self.status == 1 and any(word in self.errors[0] for word in internal):
            return f"foreign exception: {self.errors[0][:200]}"
        return ""


def prepare(shim: Path | None, cache: Path) -> None:
    """Starts the server; processes inherit the environment of this moment."""
    os.environ |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": XLA_FLAGS, "COLUMNS": "80"}
    os.environ |= {"XDG_CACHE_HOME": str(cache), "MPLCONFIGDIR": str(cache / "mpl")}
    # Killed processes leave semaphores, which Python would report.
    os.environ |= {"PYTHONWARNINGS": "ignore:resource_tracker"}
    # A thread of OpenBLAS would not survive the fork.
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    preload = {"LD_PRELOAD": str(shim)} if shim else {}
    os.environ |= preload
    _context.set_forkserver_preload(PRELOADED)
    first = _context.Process(target=time.sleep, args=(0,))
    first.start()
    first.join()
    for name in preload:
        del os.environ[name]


def build_shim(folder: Path) -> Path | None:
    """Compiles shim.c; returns None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler or not sys.platform.startswith("linux"):
        return None
    shim = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    words = [compiler, "-shared", "-fPIC", "-O1", "-o", str(shim), str(source), "-ldl"]
    subprocess.run(words, check=True)
    return shim


class Command:
    """A started command."""

    def __init__(
        self,
        program: str,
        *words: object,
        output: Path,
        plan: Plan | None = None,
        environment: dict[str, str] | None = None,
    ):
        """Starts it; its output goes to files in the folder ``output``."""
        output.mkdir(parents=True, exist_ok=True)
        self._files = output / "out.txt", output / "err.txt"
        self._peak = output / "peak.txt"
        self._peak.unlink(missing_ok=True)
        self.words = [program, *map(str, words)]
        given = self.words, self._files, plan, environment or {}
        self.process = _context.Process(target=_run, args=given)
        self.process.start()
        self._start = time.monotonic()

    def signal(self, number: int) -> None:
        """Sends a signal, if the command still runs."""
        if self.process.exitcode is None and self.process.pid:
            os.kill(self.process.pid, number)

    def end(self, seconds: float = LIMIT_SECONDS) -> Ended:
        """Waits for its end, kills it after so many seconds, returns what it said."""
        left = seconds - (time.monotonic() - self._start)
        self.process.join(max(0.1, left))
        is_late = self.process.exitcode is None
        if is_late:
            self.process.kill()
            self.process.join()
        out, err = (file.read_text(errors="replace") for file in self._files)
        status = self.process.exitcode
        assert status is not None
        peak = int(self._peak.read_text()) if self._peak.exists() else 0
        return Ended(status, out, err, is_late, self.words, peak)


def run(program: str, *words: object, output: Path, **how: Any) -> Ended:
    """Runs a command to its end."""
    return Command(program, *words, output=output, **how).end()


def run_cold(program: str, *words: object) -> None:
    """Runs a command as a user does, from the start of Python."""
    given = [sys.executable, str(ROOT / program), *map(str, words)]
    ended = subprocess.run(given, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def _run(
    words: Sequence[str],
    files: tuple[Path, Path],
    plan: Plan | None,
    environment: dict[str, str],
) -> None:
    """Becomes the command."""
    for number, path in enumerate(files, start=1):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, number)
        os.close(descriptor)
    shim = os.environ.pop("LD_PRELOAD", "")
    os.environ |= environment
    os.chdir(ROOT)
    sys.argv = [str(ROOT / words[0]), *words[1:]]
    if plan:
        folder, log = os.fsencode(plan.folder), os.fsencode(plan.log)
        ctypes.CDLL(shim).campaign_arm(
            folder, ctypes.c_long(plan.call), plan.action, log
        )
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        sys.stdout.flush()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        files[0].with_name("peak.txt").write_text(str(peak))
        atexit._run_exitfuncs()  # multiprocessing ends without them


class Worker:
    """A forked process that answers items one by one; a hang or a crash costs one."""

    def __init__(self, answer: Callable[[Any], str], seconds: float = 30):
        """Makes a worker; ``answer`` is a function of a module, "" is no fault."""
        self._answer, self._seconds = answer, seconds
        self._process: Any = None

    def ask(self, item: Any) -> str:
        """Returns the answer; or that the process died, or took too long."""
        if self._process is None:
            self._pipe, other = _context.Pipe()
            self._process = _context.Process(target=_serve, args=(self._answer, other))
            self._process.start()
            other.close()
        try:
            self._pipe.send(item)
            if self._pipe.poll(self._seconds):
                return self._pipe.recv()
            fault = f"hang: no answer in {self._seconds} s"
        except (EOFError, OSError):
            self._process.join(5)
            fault = f"ended by {self._process.exitcode}"
        self.stop()
        return fault

    def stop(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


def _serve(answer: Callable[[Any], str], pipe: Any) -> None:
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        pipe.send(answer(item))
