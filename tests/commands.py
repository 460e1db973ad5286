"""The commands as a user gives them: in processes of their own, or in this one."""

import contextlib
import io
import logging
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

ROOT = Path(__file__).parents[1]
# Unoptimised code compiles in half the time, and tests run it once or twice. Programs
# without calls of oneDNN can be kept on disk, for the other commands of the tests.
FLAGS = """
    --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true
    --xla_cpu_parallel_codegen_split_count=1 --xla_force_host_platform_device_count=
""".strip()
LIMIT_SECONDS = 900  # of a command: many times what it takes, also on a busy machine
SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGUSR1

Result = subprocess.CompletedProcess[str]


def environment(num_devices: int = 1) -> dict[str, str]:
    """Returns the variables for a command on so many virtual devices."""
    flags = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"{FLAGS}{num_devices}"}
    return os.environ | flags | {"COLUMNS": "80"}


def command(program: str, *words: object) -> list[str]:
    """Returns the words that start a command of the checkout."""
    return [sys.executable, str(ROOT / program), *map(str, words)]


def run(program: str, *words: object, num_devices: int = 1, cwd: Path = ROOT) -> Result:
    """Runs a command in a process of its own."""
    return subprocess.run(
        command(program, *words),
        cwd=cwd,
        env=environment(num_devices),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )


def start(program: str, *words: object) -> subprocess.Popen[str]:
    """Starts a command in a new session, without the terminal of the tests."""
    return subprocess.Popen(
        command(program, *words),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def call(program: str, *words: object, cwd: Path = ROOT) -> Result:
    """Runs a command in this process, so it need not import JAX again.

    For commands that read a run or refuse a mistake. What they change in the process is
    set back. They use the eight devices of the tests.
    """
    argv = command(program, *words)[1:]
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    handlers_of_root = logging.root.handlers[:]
    logger, cache = logging.getLogger("cnn_arch"), jax.config.jax_compilation_cache_dir
    status, out, err = 0, io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        contextlib.chdir(cwd),
    ):
        patch.setattr(sys, "argv", argv)
        patch.setenv("COLUMNS", "80")
        try:
            runpy.run_path(argv[0], run_name="__main__")
        except SystemExit as ended:
            status = int(ended.code or 0)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logging.basicConfig(handlers=handlers_of_root, force=True)
    jax.config.update("jax_compilation_cache_dir", cache)
    compilation_cache.reset_cache()
    return Result(argv, status, out.getvalue(), err.getvalue())


def error_line(result: Result, status: int = 2) -> str:
    """Returns the one line on stderr of a command that ended with this status."""
    assert result.returncode == status, result.stdout + result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return lines[0]
