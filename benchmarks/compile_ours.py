"""The worker of compile.py: compiles the training step once."""

import time
from typing import Any

import jax
from ours import open_program
from worker import serve


def peak_bytes() -> int:
    """Returns the peak memory of this process."""
    # Not ru_maxrss: it includes the memory of the process that started this one.
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def prepare(case: dict):
    """Traces, lowers and compiles; returns the seconds of each, and the memory."""
    program = open_program(case["words"])
    # Loads the kernels of the libraries before the clock runs.
    jax.jit(lambda x: x @ x).lower(jax.numpy.ones((8, 8))).compile()
    facts: dict[str, Any] = {"before_bytes": peak_bytes()}
    stage: Any = program  # program.trace().lower().compile()
    for name in ("trace", "lower", "compile"):
        start = time.perf_counter()
        stage = getattr(stage, name)()
        facts[f"{name}_seconds"] = time.perf_counter() - start
    facts["peak_bytes"] = peak_bytes()
    if memory := stage.memory_analysis():
        facts["state_bytes"] = memory.argument_size_in_bytes
        facts["step_bytes"] = memory.temp_size_in_bytes
    facts["versions"] = {"jax": jax.__version__}
    return facts, {}


if __name__ == "__main__":
    serve(prepare)
