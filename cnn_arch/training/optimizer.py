"""The recipe: its optimizer and learning rate, as optax transformations."""

from collections.abc import Collection, Sequence
from typing import Any

import jax
import optax
from ml_collections import ConfigDict

from cnn_arch import folders, setting_words, settings
from cnn_arch.screen import Screen
from cnn_arch.training import frozen, schedules, update_rules
from cnn_arch.units import counted


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
    name_recipe(config, words, screen)
    if learning := frozen.describe(config):
        screen.say("", learning)
    moved, idle = settings.remarks(words, config)
    if moved:
        named = ", ".join(f"{key}={value}" for key, value in moved.items())
        screen.say("", f"in the recipe's proportions: {named}")
    for remark in [*idle, *schedules.check_schedule(config, steps_per_epoch)]:
        screen.warn(remark)


def name_recipe(config: ConfigDict, words: Sequence[str], screen: Screen) -> None:
    """Prints the recipe, and what the size of a folder changes in it."""
    screen.say("recipe", describe_recipe(config))
    if remark := remark_on_size(words):
        screen.say("", remark)


def remark_on_size(words: Sequence[str]) -> str:
    """Returns what the size of a folder changes in the recipe; "" if nothing."""
    recipe, *others = sorted(setting_words.joined(words), key=_is_setting)
    if not recipe.endswith(setting_words.OF_FOLDER):
        return ""
    stem = recipe.removesuffix(setting_words.OF_FOLDER)
    long, _ = settings.parse([stem + setting_words.OF_LARGE])
    short, _ = settings.parse([recipe])
    if (long.epochs, long.batch_size) == (short.epochs, short.batch_size):
        return ""
    if setting_words.of_its_size(recipe, others) != recipe:
        return f"as for ImageNet: the folder has {folders.LARGE:,} images or more"
    length = _length(long)
    fields = [
        f"{field.replace('_', ' ')} {value}"
        for field, value in long.model.fields.items()
        if value != short.model.fields[field]
    ]
    parts = ", ".join([length, f"batch {long.batch_size}", *fields])
    return f"shortened from {parts}: the folder has fewer than {folders.LARGE:,} images"


def _is_setting(word: str) -> bool:
    return not word.startswith("--config=")


def _length(config: ConfigDict) -> str:
    if config.steps:
        return counted(config.steps, "step")
    return counted(config.epochs, "epoch")


def describe_recipe(config: ConfigDict) -> str:
    """Returns the recipe in one line."""
    optim = config.optim
    warmup = optim.warmup_steps or optim.warmup_epochs
    rise = f", warm-up {warmup:g}" if warmup else ""
    decay = f", L2 {optim.weight_decay:g}" if optim.weight_decay else ""
    parts = f" in {config.accumulate} parts" if config.accumulate > 1 else ""
    return (
        f"{_length(config)}, batch {config.batch_size}{parts}, {optim.name} momentum "
        f"{optim.momentum:g}, lr {optim.learning_rate:g} "
        f"{_describe_rate(config)}{rise}{decay}, seed {config.seed}"
    )


def _describe_rate(config: ConfigDict) -> str:
    """Returns in a few words how the rate changes."""
    optim, unit = config.optim, "steps" if config.steps else "epochs"
    low = f" to {optim.min_rate:g}" if optim.min_rate else ""
    factor = f"x {optim.factor:g}"
    if optim.schedule == "step" and optim.milestones:
        # A step is a whole number, and 450000 is easier to read than 4.5e+05.
        form = ",.10g" if config.steps else "g"
        return f"{factor} at {', '.join(f'{x:{form}}' for x in optim.milestones)}{low}"
    if optim.schedule == "exponential":
        return f"{factor} each {optim.fall_every:,.10g} {unit}{low}"
    if optim.schedule == "polynomial":
        return f"polynomial, power {optim.power:g}{low}"
    if optim.schedule == "plateau":
        epochs = counted(optim.patience, "epoch")
        return f"{factor} after {epochs} without a lower error{low}"
    return f"{optim.schedule}{low}"


def make_optimizer(
    config: ConfigDict, schedule: optax.Schedule, head: Collection[frozen.Layer] = ()
) -> optax.GradientTransformationExtraArgs:
    """Returns the optimizer of a recipe, as a chain of optax transformations.

    All layers but those of ``head`` learn at ``optim.body_rate`` times the rate.

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
    if optim.body_rate != 1.0:
        is_body = lambda path: path[:-1] not in head  # noqa: E731
        after.append(update_rules.scale_where(optim.body_rate, is_body))
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
