"""The learning-rate range test: a short training whose rate rises until it diverges.

Smith 2017, "Cyclical Learning Rates for Training Neural Networks", Section 3.3. The
limits of the rate, its exponential rise, the end at four times the least loss, and the
suggestion, a tenth of the rate of the least loss, are those of fastai's ``LRFinder``
and ``minimum``. Two things differ: the loss is smoothed over its neighbours on both
sides, so that the curve has no delay; and the test does not end below the first loss,
so that the noise of a loss near zero is not taken for divergence.
"""

import dataclasses
import math
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from cnn_arch import settings
from cnn_arch.data.loading import TrainBatches
from cnn_arch.errors import RunError
from cnn_arch.parallel.mesh import put_batch
from cnn_arch.screen import Screen
from cnn_arch.training.program import Program

LOWEST, HIGHEST = 1e-7, 10.0  # rates
NUM_STEPS = 200  # 25 for a rate ten times as high
NUM_NEIGHBOURS = 3  # on each side, over which a loss is smoothed
DIVERGED = 4.0  # times the least smoothed loss, and above the first: the test ends
LEAST_FALL = 0.02  # of the first smoothed loss; with less, nothing was learnt


@dataclasses.dataclass(frozen=True)
class Curve:
    """The loss of each step, and its rate."""

    rates: np.ndarray
    losses: np.ndarray  # finite, in nats

    @property
    def smoothed(self) -> np.ndarray:
        """The mean of each loss and its neighbours."""
        return np.array([_smooth(self.losses, i) for i in range(len(self.losses))])

    @property
    def suggestion(self) -> float | None:
        """A tenth of the rate of the least smoothed loss; None if it hardly fell."""
        smoothed = self.smoothed
        least = int(smoothed.argmin())
        if smoothed[least] > (1 - LEAST_FALL) * smoothed[0]:
            return None
        return float(self.rates[least]) / 10


def rising(config: ConfigDict) -> FrozenConfigDict:
    """Returns the recipe with a rate that rises in each step, and nothing before it."""
    factor = (HIGHEST / LOWEST) ** (1 / (NUM_STEPS - 1))
    changes: dict[str, Any] = {
        "steps": NUM_STEPS,
        "freeze_epochs": 0.0,
        "optim.schedule": "exponential",
        "optim.learning_rate": LOWEST,
        "optim.factor": factor,
        "optim.fall_every": 1.0,
        "optim.min_rate": 0.0,
        "optim.warmup_epochs": 0.0,
        "optim.warmup_steps": 0,
        "optim.start_error": 0.0,
    }
    return settings.derive(config, changes)


def find(program: Program, start: Any, batches: TrainBatches, screen: Screen) -> Curve:
    """Trains with a rising rate until the loss diverges; saves nothing.

    Args:
      program: of a config of ``rising``, compiled.
      start: as for ``Program.initialise``.
      batches: of the run, from its first step on.
      screen: shows the progress.

    Raises:
      RunError: the loss is not finite at the lowest rate.
    """
    state = program.initialise(start)
    rates: list[float] = []
    losses: list[float] = []
    with (
        closing(batches.iterate(0, NUM_STEPS)) as images,
        screen.progress("find lr", NUM_STEPS) as progress,
    ):
        for batch in images:
            state, on_device = program.train_step(state, put_batch(batch, program.mesh))
            metrics = jax.device_get(on_device)
            if not math.isfinite(metrics["loss"]):
                break
            rates.append(float(metrics["learning_rate"]))
            losses.append(float(metrics["loss"]))
            progress.advance(f"lr {rates[-1]:.1e}  loss {losses[-1]:.3f}")
            if has_diverged(losses):
                break
    if not losses:
        raise RunError(
            f"the loss is not finite at the rate {LOWEST:g}: it is wrong before the "
            "first step; look at the images and at --config.init_from"
        )
    return Curve(np.array(rates), np.array(losses))


def has_diverged(losses: Sequence[float]) -> bool:
    """Whether the last loss that can be smoothed is too far above the others."""
    number = len(losses) - NUM_NEIGHBOURS
    smoothed = [_smooth(losses, i) for i in range(number)]
    return number > 0 and smoothed[-1] > max(DIVERGED * min(smoothed), smoothed[0])


def _smooth(losses: Sequence[float] | np.ndarray, index: int) -> float:
    first = max(0, index - NUM_NEIGHBOURS)
    return float(np.mean(losses[first : index + NUM_NEIGHBOURS + 1]))
