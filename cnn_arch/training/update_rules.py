"""Transformations of updates that optax does not have, in its form."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

Parameters = Any  # a tree of arrays


def initial_average(optim: ConfigDict, params: Parameters) -> Parameters | None:
    """Returns the average before the first update; None if ``optim`` asks for none."""
    return None if optim.average == "none" else optax.tree.zeros_like(params)


def next_average(
    optim: ConfigDict, average: Parameters, params: Parameters, count: jax.Array
) -> Parameters:
    """Returns the average of the parameters after each of ``count`` updates.

    With "ema", each update weighs ``average_decay`` times the next one (exponential
    moving average), without bias towards zero. With "polyak", all weigh the same
    (Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging").
    """
    if optim.average == "ema":
        decay = optim.average_decay
        # 1 - decay ** count, without loss of digits while that is small.
        share = (1 - decay) / -jnp.expm1(count * math.log(decay))
    else:
        share = 1 / count
    return jax.tree.map(lambda old, new: old + share * (new - old), average, params)


def limit_filters(radius: float) -> optax.GradientTransformation:
    """Scales filters down whose root mean square would exceed ``radius``.

    Zeiler and Fergus 2013, Section 3.1: "renormalize each filter in the convolutional
    layers whose RMS value exceeds a fixed radius of 10^-1 to this fixed radius". Put it
    last in a chain. It changes kernels [h, w, in, out] only; a filter is one of the
    ``out`` parts.
    """

    def limit(param: jax.Array, update: jax.Array) -> jax.Array:
        if param.ndim != 4:
            return update
        new = param + update
        rms = jnp.sqrt(jnp.square(new).mean(axis=(0, 1, 2)))
        return jnp.where(rms > radius, new * (radius / rms) - param, update)

    def update(updates: Parameters, state: Any, params: Parameters) -> Any:
        return jax.tree.map(limit, params, updates), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


def scale_where(
    factor: float, choose: Callable[[tuple[str, ...]], bool]
) -> optax.GradientTransformation:
    """Scales the updates of the parameters whose path, a tuple of names, is chosen."""

    def scale(path: Any, update: jax.Array) -> jax.Array:
        names = tuple(str(part.key) for part in path)
        return factor * update if choose(names) else update

    return optax.stateless(
        lambda updates, _: jax.tree_util.tree_map_with_path(scale, updates)
    )
