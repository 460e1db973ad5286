"""Measures forward passes and training steps on random images."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from cnn_arch import settings
from cnn_arch.evaluation.one_crop import OneCrop
from cnn_arch.parallel.mesh import put_batch
from cnn_arch.training.program import Program

MIN_RUNS, MAX_RUNS, ENOUGH_SECONDS = 3, 50, 5.0


class Speed(NamedTuple):
    """Images a second."""

    median: float  # of all runs
    slowest: float
    fastest: float
    runs: int  # number of runs


def prepare(program: Program) -> tuple[Callable[[], None], Callable[[], None]]:
    """Compiles a forward pass and a training step on a random batch.

    Returns:
      Two functions. Each runs its program once and waits for it.
    """
    state, batch = program.initialise(), random_batch(program)
    program.compile()
    # A copy, since each training step frees the arrays of the state that it takes.
    variables = jax.tree.map(lambda leaf: leaf.copy(), state.variables)

    def run_step() -> None:
        nonlocal state
        state, metrics = program.train_step(state, batch)
        jax.block_until_ready(metrics)

    return prepare_forward(program, variables, batch), run_step


def prepare_forward(program: Program, variables: Any, batch: Any) -> Callable[[], None]:
    """Compiles a forward pass as in evaluation; returns a function that runs it."""
    in_one_part = settings.derive(program.config, {"accumulate": 1})
    evaluator = OneCrop(in_one_part, program.model, program.mesh)
    evaluator.compile(program.variable_shapes)
    folded = evaluator.fold(variables)
    return lambda: jax.block_until_ready(evaluator.step(folded, batch))


def random_batch(program: Program) -> Any:
    """Returns a batch of noise on the devices."""
    config, data = program.config, program.config.data
    random = np.random.default_rng(config.seed)
    shape = config.batch_size, data.image_size, data.image_size, data.channels
    labels = random.integers(program.num_classes, size=shape[0], dtype=np.int32)
    images = random.integers(256, size=shape, dtype=np.uint8)
    return put_batch({"image": images, "label": labels}, program.mesh)


def measure(run: Callable[[], Any], batch: int) -> Speed:
    """Runs until enough time has passed, after one run to warm up."""
    run()
    speeds: list[float] = []
    begin = time.perf_counter()
    while len(speeds) < MIN_RUNS or (
        len(speeds) < MAX_RUNS and time.perf_counter() - begin < ENOUGH_SECONDS
    ):
        start = time.perf_counter()
        run()
        speeds.append(batch / (time.perf_counter() - start))
    return Speed(statistics.median(speeds), min(speeds), max(speeds), len(speeds))
