"""Optimizers and learning rates, as optax transformations."""

from typing import Any

import jax
import optax
from ml_collections import ConfigDict


def make_schedule(config: ConfigDict, steps_per_epoch: int) -> optax.Schedule:
    """Returns the learning rate as a function of the number of updates made."""
    optim = config.optim
    warmup_steps = round(optim.warmup_epochs * steps_per_epoch)
    num_steps = round(config.epochs * steps_per_epoch)
    if optim.schedule == "cosine":
        # Loshchilov and Hutter 2017, "SGDR", Equation 5, one period, down to zero.
        after = optax.cosine_decay_schedule(
            optim.learning_rate, max(1, num_steps - warmup_steps)
        )
    elif optim.schedule == "step":
        falls = {  # join_schedules counts the steps after the warm-up from 0
            round(epoch * steps_per_epoch) - warmup_steps: optim.factor
            for epoch in optim.milestones
        }
        after = optax.piecewise_constant_schedule(optim.learning_rate, falls)
    else:
        after = optax.constant_schedule(optim.learning_rate)
    if not warmup_steps:
        return after
    warmup = optax.linear_schedule(0.0, optim.learning_rate, warmup_steps)
    return optax.join_schedules([warmup, after], [warmup_steps])


def make_optimizer(
    config: ConfigDict, schedule: optax.Schedule
) -> optax.GradientTransformation:
    """Returns SGD with momentum and coupled L2.

    The decay is added to the gradient before momentum, as in the papers' solvers: the
    update is v <- momentum v + (g + decay w), w <- w - rate v.
    """
    optim = config.optim

    def decay_mask(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: optim.decay == "all" or path[-1].key == "kernel", params
        )

    decayed = optax.add_decayed_weights(optim.weight_decay, mask=decay_mask)
    sgd = optax.sgd(schedule, momentum=optim.momentum)
    return optax.chain(decayed, sgd) if optim.weight_decay else sgd
