"""Learning rates: functions of the step, and rules that depend on errors."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict, FrozenConfigDict

from cnn_arch.checkpoints.state import TrainState
from cnn_arch.errors import UsageError
from cnn_arch.units import counted

MAX_STEPS = 2**31 - 1  # the state counts them in 32 bits
STEPS_TO_DRAW = 1000  # in an epoch of a picture
NUM_POINTS = 1000  # of a picture
RISE = 0.3  # of a one-cycle run, if no warm-up is given (optax and PyTorch)

Opened = Any  # the state of an optimizer, a tree


def num_steps(config: ConfigDict, steps_per_epoch: int) -> int:
    """Returns the length of a run."""
    return config.steps or round(config.epochs * steps_per_epoch)


def num_warmup_steps(config: ConfigDict, steps_per_epoch: int) -> int:
    """Returns the length of the rise of the rate, 0 if there is none."""
    if config.steps:
        return config.optim.warmup_steps
    return round(config.optim.warmup_epochs * steps_per_epoch)


def make_schedule(config: ConfigDict, steps_per_epoch: int) -> optax.Schedule:
    """Returns the learning rate as a function of the number of updates made."""
    optim, length = config.optim, num_steps(config, steps_per_epoch)
    warmup_steps = num_warmup_steps(config, steps_per_epoch)
    if optim.schedule == "one_cycle":
        return _one_cycle(optim, length, warmup_steps)
    after = _after_warmup(config, steps_per_epoch, max(1, length - warmup_steps))
    if not warmup_steps:
        return after
    warmup = optax.linear_schedule(0.0, optim.learning_rate, warmup_steps)
    return optax.join_schedules([warmup, after], [warmup_steps])


def _after_warmup(
    config: ConfigDict, steps_per_epoch: int, span: int
) -> optax.Schedule:
    """Returns the rate ``count`` steps after the warm-up, ``span`` steps in all."""
    optim, unit = config.optim, 1 if config.steps else steps_per_epoch
    warmup_steps = num_warmup_steps(config, steps_per_epoch)
    top, low = optim.learning_rate, optim.min_rate
    if optim.schedule == "cosine":
        # Loshchilov and Hutter 2017, "SGDR", Equation 5, one period.
        return optax.cosine_decay_schedule(top, span, low / top)
    if optim.schedule == "polynomial":
        # Caffe's "poly", with ``low`` as 0: top (1 - count / span) ^ power.
        return optax.polynomial_schedule(top, low, optim.power, span)
    if optim.schedule == "exponential":
        # In whole numbers: optax.exponential_decay divides in float32, which may miss
        # the step of a fall. Counted from the first step, also after a warm-up.
        every = max(1, round(optim.fall_every * unit))
        return lambda count: jnp.maximum(
            top * jnp.power(optim.factor, (count + warmup_steps) // every), low
        )
    if optim.schedule == "step":
        falls: dict[int, float] = {}
        for place in optim.milestones:
            # join_schedules counts the steps after the warm-up from 0. Where milestones
            # fall on the same step, each multiplies the rate.
            step = round(place * unit) - warmup_steps
            falls[step] = falls.get(step, 1.0) * optim.factor
        fall = optax.piecewise_constant_schedule(top, falls)
        return (lambda count: jnp.maximum(fall(count), low)) if low else fall
    return optax.constant_schedule(top)


def _one_cycle(optim: ConfigDict, length: int, warmup_steps: int) -> optax.Schedule:
    """Returns the rate that rises from 1/25 of its top and falls, both as a cosine.

    Smith and Topin 2018, "Super-Convergence"; optax's form is PyTorch's. It ends with
    ``optim.min_rate``, or with 1e-4 of the first rate if that is 0.
    """
    first = optim.learning_rate / 25
    rise = warmup_steps or round(RISE * length)
    rise = min(max(rise, 1), max(length - 1, 1))
    return optax.cosine_onecycle_schedule(
        max(length, 2),  # also a run of one step has a rise and a fall
        optim.learning_rate,
        pct_start=(rise + 0.5) / max(length, 2),  # optax rounds it down to ``rise``
        div_factor=25.0,
        final_div_factor=first / optim.min_rate if optim.min_rate else 1e4,
    )


def curve(config: ConfigDict) -> tuple[np.ndarray, np.ndarray]:
    """Returns places in the run, in the unit of its length, and the rate at each."""
    steps_per_unit = 1 if config.steps else STEPS_TO_DRAW
    last = max(1, num_steps(config, steps_per_unit)) - 1
    steps = np.unique(np.linspace(0, last, NUM_POINTS).round().astype(np.int32))
    schedule = make_schedule(config, steps_per_unit)
    rates = jax.vmap(lambda step: jnp.asarray(schedule(step), jnp.float32))(steps)
    return steps / steps_per_unit, np.asarray(rates)


def unknown(optim: ConfigDict) -> list[str]:
    """Returns what the rate depends on, besides the step, in words."""
    remarks = []
    if optim.schedule == "plateau":
        remarks.append("its falls depend on the validation errors, and are not drawn")
    if optim.start_error:
        remarks.append(
            f"it is at most {optim.start_rate:g} until the training error of a batch "
            f"is below {optim.start_error:g} %, which is not drawn"
        )
    return remarks


def check_schedule(config: ConfigDict, steps_per_epoch: int) -> list[str]:
    """Returns what the schedule never does in the run, with settings that suit.

    Raises:
      UsageError: the run has no step, or more than can be counted.
    """
    optim, epochs = config.optim, config.epochs
    length = num_steps(config, steps_per_epoch)
    warmup_steps = num_warmup_steps(config, steps_per_epoch)
    given = f"--config.epochs={epochs:g}: {length:,} steps"
    if not length:
        raise UsageError(f"{given}; must be at least {1 / steps_per_epoch:.2g}")
    if length > MAX_STEPS:
        raise UsageError(f"{given}; must be at most {MAX_STEPS // steps_per_epoch}")
    if warmup_steps >= length:
        name, now, fit = "warmup_epochs", f"{optim.warmup_epochs:g}", epochs / 10
        if config.steps:
            name, now, fit = "warmup_steps", f"{optim.warmup_steps}", length // 10
        return [
            f"optim.{name}={now}: as long as the run, so the rate never reaches "
            f"{optim.learning_rate:g}; --config.optim.{name}={fit:.4g} ends it earlier"
        ]
    unit = 1 if config.steps else steps_per_epoch
    if optim.schedule == "exponential" and round(optim.fall_every * unit) >= length:
        fit = f"{length / unit / 10:.4g}"
        return [
            f"optim.fall_every={optim.fall_every:g}: as long as the run, so the rate "
            f"never falls; --config.optim.fall_every={fit} suits this run"
        ]
    if optim.schedule == "step":
        return _check_milestones(config, length, warmup_steps, unit)
    return []


def _check_milestones(
    config: ConfigDict, length: int, warmup_steps: int, unit: int
) -> list[str]:
    """Returns which milestones never act; ``unit`` is their unit in steps."""
    optim = config.optim
    steps = {place: round(place * unit) for place in optim.milestones}
    late = [place for place in steps if steps[place] >= length]
    early = [place for place in steps if steps[place] <= warmup_steps]
    # Evenly over the run after the warm-up.
    parts = max(len(steps), 1) + 1
    share = (length - warmup_steps) / unit / parts
    form = ".0f" if config.steps else ".4g"
    fit = [f"{warmup_steps / unit + share * i:{form}}" for i in range(1, parts)]
    end = f'; "--config.optim.milestones=({",".join(fit)},)" suits this run'
    fit_steps = [round(float(place) * unit) for place in fit]
    if not warmup_steps < fit_steps[0] <= fit_steps[-1] < length:
        end = f"; {counted(length, 'step')}, too few for it"
    if not steps:
        return [f"optim.milestones=(): the rate never falls{end}"]
    return [
        f"optim.milestones: {', '.join(f'{place:.10g}' for place in found)} {where}, "
        f"so the rate {loss}{end}"
        for found, where, loss in (
            (late, "not before the end of the run", "does not fall there"),
            (early, "not after the warm-up", f"never is {optim.learning_rate:g}"),
        )
        if found
    ]


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
    once, the rate is at most ``optim.start_rate`` (He et al. 2015, Section 4.2:
    ResNet-110). After that it is the schedule's, times the factors of the plateau rule.
    The update takes the error as the argument ``error``.
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
    return jnp.where(state.begun, usual, jnp.minimum(usual, optim.start_rate))


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


def observe(optim: FrozenConfigDict, opt_state: Opened, error: float) -> Opened:
    """Returns the state after an epoch with this validation error, in percent."""

    def visit(node: Any) -> Any:
        if not _is_rate_state(node):
            return node
        return node._replace(plateau=_update_plateau(optim)(node.plateau, error))

    return jax.tree.map(visit, opt_state, is_leaf=_is_rate_state)


@functools.cache  # compiled once in a run
def _update_plateau(optim: FrozenConfigDict) -> Callable[[Any, Any], Any]:
    return jax.jit(
        lambda state, error: plateau(optim).update({}, state, value=error)[1]
    )


def _is_rate_state(node: Any) -> bool:
    return isinstance(node, RateState)
