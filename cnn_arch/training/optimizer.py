"""The recipe: its optimizer and learning rate, as optax transformations."""

from collections.abc import Sequence
from typing import Any

import jax
import optax
from ml_collections import ConfigDict

from cnn_arch import settings
from cnn_arch.errors import UsageError
from cnn_arch.screen import Screen
from cnn_arch.training import schedules, update_rules
from cnn_arch.units import counted

MAX_STEPS = 2**31 - 1  # the state counts them in 32 bits


def say_recipe(
    config: ConfigDict, words: Sequence[str], steps_per_epoch: int, screen: Screen
) -> None:
    """Prints the recipe, and what changes with the given settings.

    Warns of settings without effect, and of what the schedule never does.

    Args:
      config: of the run.
      words: the command line, as for ``settings.parse``.
      steps_per_epoch: the whole batches of the training split.
      screen: of the command.

    Raises:
      UsageError: the run has no step, or more than can be counted.
    """
    screen.say("recipe", describe_recipe(config))
    moved, idle = settings.remarks(words, config)
    if moved:
        named = ", ".join(f"{key}={value}" for key, value in moved.items())
        screen.say("", f"in the recipe's proportions: {named}")
    for remark in [*idle, *check_schedule(config, steps_per_epoch)]:
        screen.warn(remark)


def describe_recipe(config: ConfigDict) -> str:
    """Returns the recipe in one line."""
    optim = config.optim
    schedule = optim.schedule
    if schedule == "step" and optim.milestones:
        epochs = ", ".join(f"{epoch:g}" for epoch in optim.milestones)
        schedule = f"x {optim.factor:g} at {epochs}"
    if optim.warmup_epochs:
        schedule += f", warm-up {optim.warmup_epochs:g}"
    decay = f", L2 {optim.weight_decay:g}" if optim.weight_decay else ""
    return (
        f"{config.epochs:g} epochs, batch {config.batch_size}, sgd momentum "
        f"{optim.momentum:g}, lr {optim.learning_rate:g} {schedule}{decay}, "
        f"seed {config.seed}"
    )


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
        falls: dict[int, float] = {}
        for epoch in optim.milestones:
            # join_schedules counts the steps after the warm-up from 0. Where milestones
            # fall on the same step, each multiplies the rate.
            step = round(epoch * steps_per_epoch) - warmup_steps
            falls[step] = falls.get(step, 1.0) * optim.factor
        after = optax.piecewise_constant_schedule(optim.learning_rate, falls)
    else:
        after = optax.constant_schedule(optim.learning_rate)
    if not warmup_steps:
        return after
    warmup = optax.linear_schedule(0.0, optim.learning_rate, warmup_steps)
    return optax.join_schedules([warmup, after], [warmup_steps])


def check_schedule(config: ConfigDict, steps_per_epoch: int) -> list[str]:
    """Returns what the schedule never does in the run, with settings that suit.

    Raises:
      UsageError: the run has no step, or more than can be counted.
    """
    optim, epochs = config.optim, config.epochs
    num_steps = round(epochs * steps_per_epoch)
    warmup_steps = round(optim.warmup_epochs * steps_per_epoch)
    given = f"--config.epochs={epochs:g}: {num_steps:,} steps"
    if not num_steps:
        raise UsageError(f"{given}; must be at least {1 / steps_per_epoch:.2g}")
    if num_steps > MAX_STEPS:
        raise UsageError(f"{given}; must be at most {MAX_STEPS // steps_per_epoch}")
    if warmup_steps >= num_steps:
        return [
            f"optim.warmup_epochs={optim.warmup_epochs:g}: as long as the run, so the "
            f"rate never reaches {optim.learning_rate:g}; "
            f"--config.optim.warmup_epochs={epochs / 10:.4g} ends it earlier"
        ]
    if optim.schedule != "step":
        return []
    steps = {epoch: round(epoch * steps_per_epoch) for epoch in optim.milestones}
    late = [epoch for epoch in steps if steps[epoch] >= num_steps]
    early = [epoch for epoch in steps if steps[epoch] <= warmup_steps]
    # Evenly over the run after the warm-up.
    parts = max(len(steps), 1) + 1
    share = (epochs - optim.warmup_epochs) / parts
    fit = [f"{optim.warmup_epochs + share * i:.4g}" for i in range(1, parts)]
    end = f'; "--config.optim.milestones=({",".join(fit)},)" suits this run'
    fit_steps = [round(float(epoch) * steps_per_epoch) for epoch in fit]
    if not warmup_steps < fit_steps[0] <= fit_steps[-1] < num_steps:
        end = f"; {counted(num_steps, 'step')}, too few for it"
    if not steps:
        return [f"optim.milestones=(): the rate never falls{end}"]
    return [
        f"optim.milestones: {', '.join(f'{epoch:g}' for epoch in found)} {place}, so "
        f"the rate {loss}{end}"
        for found, place, loss in (
            (late, "not before the end of the run", "does not fall there"),
            (early, "not after the warm-up", f"never is {optim.learning_rate:g}"),
        )
        if found
    ]


def make_optimizer(
    config: ConfigDict, schedule: optax.Schedule
) -> optax.GradientTransformationExtraArgs:
    """Returns the optimizer of a recipe, as a chain of optax transformations.

    Coupled decay is added to the gradient first (L2, as in the papers' solvers);
    decoupled decay is added after the gradient has been scaled (Loshchilov and Hutter
    2019, "Decoupled Weight Decay Regularization"), and only the rate multiplies it.
    """
    optim = config.optim
    decayed = optax.add_decayed_weights(optim.weight_decay, mask=_decay_mask(optim))
    is_coupled = optim.decay_form == "coupled"
    rule = _rule(optim, schedule, [] if is_coupled else [decayed])
    before = [optax.clip(optim.clip_value)] if optim.clip_value else []
    if optim.weight_decay and is_coupled:
        before.append(decayed)
    after = []
    if optim.bias_rate != 1.0:  # Caffe's lr_mult
        is_bias = lambda path: path[-1] == "bias"  # noqa: E731
        after.append(update_rules.scale_where(optim.bias_rate, is_bias))
    if optim.filter_radius:
        after.append(update_rules.limit_filters(optim.filter_radius))
    parts = [*before, rule, *after]
    # A chain of one would change the form of checkpoints.
    chain = optax.chain(*parts) if len(parts) > 1 else rule
    return optax.with_extra_args_support(chain)


def _rule(
    optim: ConfigDict,
    schedule: optax.Schedule,
    decayed: list[optax.GradientTransformation],
) -> optax.GradientTransformation:
    """Returns the rule by name; ``decayed`` comes before the rate.

    The two forms of momentum differ when the rate changes. "pytorch": v <- m v + g,
    w <- w - rate v. "caffe" (also cuda-convnet, TensorFlow, and Krizhevsky et al. 2012,
    Section 5): v <- m v + rate g, w <- w - v.
    """
    if schedules.depends_on_errors(optim):
        rate = schedules.scale_by_observed_rate(optim, schedule)
    else:
        rate = optax.scale_by_learning_rate(schedule)
    momentum = optax.trace(optim.momentum, optim.nesterov)
    if optim.name in ("adamw", "lamb"):
        # Here momentum is the decay of the first moment. You et al. 2020, "Large Batch
        # Optimization for Deep Learning", Algorithm 2: LAMB.
        adam = optax.scale_by_adam(optim.momentum, optim.beta2, optim.epsilon)
        trust = [optax.scale_by_trust_ratio()] if optim.name == "lamb" else []
        return optax.chain(adam, *decayed, *trust, rate)
    scale = []
    if optim.name == "rmsprop":
        # TensorFlow's: the mean square begins with 1, epsilon is inside the root.
        rms = optax.scale_by_rms(
            optim.beta2,
            optim.epsilon,
            initial_scale=1.0 if optim.epsilon_in_root else 0.0,
            eps_in_sqrt=optim.epsilon_in_root,
        )
        scale = [rms]
    if optim.momentum_form == "caffe":
        return optax.chain(*scale, *decayed, rate, momentum)
    return optax.chain(*scale, momentum, *decayed, rate)


def _decay_mask(optim: ConfigDict) -> Any:
    def mask(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: optim.decay == "all" or path[-1].key == "kernel", params
        )

    return mask
