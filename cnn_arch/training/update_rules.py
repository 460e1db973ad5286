"""Transformations of updates that optax does not have, in its form."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Parameters = Any  # a tree of arrays


class AverageState(NamedTuple):
    """The state of ``average_parameters``."""

    count: jax.Array  # int32 scalar, updates so far
    total: Parameters  # float32, the weighted sum of the parameters after each update
    weight: jax.Array  # float32 scalar, the sum of the weights

    @property
    def average(self) -> Parameters:
        """The average, without bias towards zero or towards the first parameters."""
        return jax.tree.map(lambda total: total / self.weight, self.total)


def average_parameters(decay: float) -> optax.GradientTransformation:
    """Keeps an average of the parameters after each update; changes no update.

    Put it last in a chain. With a decay below 1, each update weighs ``decay`` times the
    next one (exponential moving average). With 1, all weigh the same (Polyak and
    Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging").
    """

    def init(params: Parameters) -> AverageState:
        zeros = optax.tree.zeros_like(params)
        return AverageState(jnp.zeros((), jnp.int32), zeros, jnp.zeros(()))

    def update(
        updates: Parameters, state: AverageState, params: Parameters
    ) -> tuple[Parameters, AverageState]:
        # In shares of one, so that no sum grows without bound.
        if decay < 1:
            share = 1 - decay
        else:
            share = 1 / (state.count + 1)
        new = jax.tree.map(lambda p, u: p + u, params, updates)
        total = jax.tree.map(lambda t, p: t + share * (p - t), state.total, new)
        weight = state.weight + share * (1 - state.weight)
        return updates, AverageState(state.count + 1, total, weight)

    return optax.GradientTransformation(init, update)


def find_average(opt_state: Any) -> Parameters | None:
    """Returns the averaged parameters in an optimizer's state; None if there are none.

    Before the first update there is nothing to average: the values are not numbers.
    """
    is_average = lambda node: isinstance(node, AverageState)  # noqa: E731
    for node in jax.tree.leaves(opt_state, is_leaf=is_average):
        if is_average(node):
            return node.average
    return None


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
