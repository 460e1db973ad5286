"""Compiles the training step once, for compile.py."""

import time
from typing import Any

import jax
from ours import open_program
from worker import serve


def peak_bytes() -> int:
    """Returns the greatest memory of this process so far.

    Not ``ru_maxrss``: it begins with that of the process which started this one.
    """
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def prepare(case: dict):
    """Traces, lowers and compiles; returns the seconds and the memory of each."""
    program = open_program(case["words"])
    # The kernels of the libraries themselves are loaded before the clock runs.
    jax.jit(lambda x: x @ x).lower(jax.numpy.ones((8, 8))).compile()
    facts: dict[str, Any] = {"before_bytes": peak_bytes()}
    start = time.perf_counter()
    traced = program.trace()
    facts["trace_seconds"] = time.perf_counter() - start
    start = time.perf_counter()
    lowered = traced.lower()
    facts["lower_seconds"] = time.perf_counter() - start
    start = time.perf_counter()
    compiled = lowered.compile()
    facts["compile_seconds"] = time.perf_counter() - start
    facts["peak_bytes"] = peak_bytes()
    if memory := compiled.memory_analysis():
        facts["state_bytes"] = memory.argument_size_in_bytes
        facts["step_bytes"] = memory.temp_size_in_bytes
    facts["versions"] = {"jax": jax.__version__}
    return facts, {}


if __name__ == "__main__":
    serve(prepare)
