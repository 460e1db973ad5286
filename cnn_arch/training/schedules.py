"""Learning rates: functions of the step, and rules that depend on errors."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from cnn_arch.checkpoints.state import TrainState

Opened = Any  # the state of an optimizer, a tree


def plateau(optim: ConfigDict) -> optax.GradientTransformationExtraArgs:
    """Returns optax's rule that lowers the rate when the error stops falling.

    Its state is updated once an epoch, with the error of the validation images.
    """
    return optax.contrib.reduce_on_plateau(
        factor=optim.factor,
        patience=optim.patience,
        rtol=optim.threshold,
        cooldown=optim.cooldown,
        min_scale=optim.min_rate / optim.learning_rate,
    )


def depends_on_errors(optim: ConfigDict) -> bool:
    """Returns whether the learning rate is no function of the step alone."""
    return optim.schedule == "plateau" or optim.start_error > 0


class RateState(NamedTuple):
    """What the learning rate depends on, besides the step."""

    count: jax.Array  # int32 scalar, updates so far
    begun: jax.Array  # bool scalar, the training error has been low enough once
    plateau: optax.contrib.ReduceLROnPlateauState


def scale_by_observed_rate(
    optim: ConfigDict, schedule: optax.Schedule
) -> optax.GradientTransformationExtraArgs:
    """Multiplies by minus the rate, which depends on errors as well as on the step.

    Until the error of a step's images has been below ``optim.start_error`` percent
    once, the rate is ``optim.start_rate`` (He et al. 2015, Section 4.2: ResNet-110).
    After that it is the schedule's, times the factors of the plateau rule. The update
    takes the error as the argument ``error``.
    """

    def init(params: Any) -> RateState:
        del params
        begun = jnp.array(not optim.start_error)
        state = plateau(optim).init({"rate": jnp.ones(())})
        return RateState(jnp.zeros((), jnp.int32), begun, state)

    def update(
        updates: Any,
        state: RateState,
        params: Any = None,
        *,
        error: jax.Array,
        **unused: Any,
    ) -> tuple[Any, RateState]:
        del params, unused
        scale = -rate(optim, schedule, state)
        updates = jax.tree.map(lambda update: scale * update, updates)
        begun = state.begun | (error < optim.start_error)
        return updates, RateState(state.count + 1, begun, state.plateau)

    return optax.GradientTransformationExtraArgs(init, update)


def rate(optim: ConfigDict, schedule: optax.Schedule, state: RateState) -> jax.Array:
    """Returns the rate of the next update."""
    usual = schedule(state.count) * state.plateau.scale
    return jnp.where(state.begun, usual, optim.start_rate)


def current_rate(
    optim: ConfigDict, schedule: optax.Schedule, state: TrainState
) -> jax.Array:
    """Returns the rate of the next update of a training state, float32."""
    rate_state = find_rate_state(state.opt_state)
    if rate_state is None:
        return jnp.asarray(schedule(state.step), jnp.float32)
    return rate(optim, schedule, rate_state)


def find_rate_state(opt_state: Opened) -> RateState | None:
    """Returns the state of ``scale_by_observed_rate``; None if the rate has none."""
    for node in jax.tree.leaves(opt_state, is_leaf=_is_rate_state):
        if _is_rate_state(node):
            return node
    return None


def observe(optim: ConfigDict, opt_state: Opened, error: float) -> Opened:
    """Returns the state after an epoch with this validation error, in percent."""

    @jax.jit
    def update(state: Any) -> Any:
        return plateau(optim).update({}, state, value=error)[1]

    def visit(node: Any) -> Any:
        if not _is_rate_state(node):
            return node
        return node._replace(plateau=update(node.plateau))

    return jax.tree.map(visit, opt_state, is_leaf=_is_rate_state)


def _is_rate_state(node: Any) -> bool:
    return isinstance(node, RateState)
