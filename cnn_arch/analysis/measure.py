"""How fast a network really is: forward passes and steps of training on noise."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cnn_arch.evaluation.one_crop import make_eval_step
from cnn_arch.models import INIT_OPTIONS
from cnn_arch.parallel.mesh import put_batch, replicated
from cnn_arch.training import optimizer, step

MIN_RUNS, MAX_RUNS, ENOUGH_SECONDS = 5, 50, 5.0


class Speed(NamedTuple):
    """Images a second.

    Attributes:
      median: of all runs.
      slowest: of them.
      fastest: of them.
      runs: how many there were.
    """

    median: float
    slowest: float
    fastest: float
    runs: int


def prepare(
    config: ConfigDict, model: Any, mesh: Mesh
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Compiles a forward pass and a step of training.

    Args:
      config: the whole recipe; ``batch_size`` is that of both.
      model: from ``build_model``.
      mesh: of the devices.

    Returns:
      Functions that run one of each and wait for it.
    """
    data = config.data
    schedule = optimizer.make_schedule(config, 1000)
    sgd = optimizer.make_optimizer(config, schedule)
    state = jax.jit(
        lambda: step.init_state(config, model, sgd),
        out_shardings=replicated(mesh),
        compiler_options=INIT_OPTIONS,
    )()
    random = np.random.default_rng(config.seed)
    shape = config.batch_size, data.image_size, data.image_size, data.channels
    labels = random.integers(data.num_classes or 1000, size=shape[0], dtype=np.int32)
    images = random.integers(256, size=shape, dtype=np.uint8)
    batch = put_batch({"image": images, "label": labels}, mesh)

    forward = make_eval_step(config, model, mesh)
    forward = forward.lower(state.params, state.batch_stats, batch).compile()
    train = step.make_train_step(config, model, sgd, schedule, mesh)
    compiled = train.lower(state, batch).compile()
    variables = jax.tree.map(
        lambda leaf: leaf.copy(), (state.params, state.batch_stats)
    )

    def run_forward() -> None:
        jax.block_until_ready(forward(*variables, batch))

    def run_step() -> None:
        nonlocal state  # given up to each step
        state, metrics = compiled(state, batch)
        jax.block_until_ready(metrics)

    return run_forward, run_step


def measure(run: Callable[[], Any], batch: int) -> Speed:
    """Runs until enough time has passed; the first run, which warms up, is left out."""
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
