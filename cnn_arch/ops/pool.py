"""Pooling in two forms: plain, and fast on a CPU.

``platform`` chooses. Measured on two cores with AMX (jax 0.12), for 16 images:

- ``reduce_window`` of XLA takes 31 ms for a 3x3 maximum of 64 maps of 112 x 112 in
  bfloat16, and 21 ms for a 3x3 mean of 256 maps of 35 x 35 (Inception-v3's). It and
  its gradient took 430 ms of ResNet-50's step. The maximum and the sum of shifted maps
  are loops that XLA vectorises.
- They compute in float32: bfloat16 takes 16 times as long, because XLA rounds after
  each maximum, one element at a time.
- XLA stores maps that are padded. So where windows have padding, their columns are
  combined first and then their rows, and each shifted part is padded in its loop: 3.2
  ms instead of 5.0 for that maximum, 4.2 instead of 21 for that mean. One loop over all
  nine pixels, each padded, takes 5.6 for the maximum; without padding it is faster.
- A pool's gradient is read once for each pixel of a window, and the normalisation
  before it was computed as often, without a barrier: half of cuda-convnet's step (67 of
  128 ms, batch 128 in bfloat16).
"""

from collections.abc import Iterator
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from cnn_arch.ops.conv import NO_PADDING, Padding
from cnn_arch.ops.platform import choose, views


class Windows(NamedTuple):
    """The windows of a pool."""

    side: int
    stride: int
    padding: Padding


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def max_pool(x: jax.Array, window: int, stride: int, padding: Padding) -> jax.Array:
    """Takes the maximum over windows of maps [B, H, W, C]; padding never wins."""
    given = {"window": window, "stride": stride, "padding": padding}
    cpu, plain = partial(_cpu_max_pool, **given), partial(_plain_max_pool, **given)
    return choose(cpu, plain, x)


def _plain_max_pool(
    x: jax.Array, window: int, stride: int, padding: Padding
) -> jax.Array:
    x = _pad(x, padding, -jnp.inf)
    return nn.max_pool(x, window_shape=(window, window), strides=(stride, stride))


def _pad(x: jax.Array, padding: Padding, value: float) -> jax.Array:
    """Pads maps here, as jax2onnx knows Flax's pools by names, and without padding."""
    if not any(map(any, padding)):
        return x
    return jnp.pad(x, ((0, 0), *padding, (0, 0)), constant_values=value)


def _cpu_max_pool(
    x: jax.Array, window: int, stride: int, padding: Padding
) -> jax.Array:
    # In float32: XLA rounds to bfloat16 after each maximum, one element at a time.
    if padding == NO_PADDING:
        seen = views(x.astype(jnp.float32), (window, window), stride)
        return reduce(jnp.maximum, seen).astype(x.dtype)
    windows = Windows(window, stride, padding)
    columns = reduce(jnp.maximum, _seen(x, 2, windows, -jnp.inf)).astype(x.dtype)
    columns = lax.optimization_barrier(columns)
    rows = _seen(columns, 1, windows, -jnp.inf)
    return reduce(jnp.maximum, rows).astype(x.dtype)


def _seen(
    x: jax.Array, axis: int, windows: Windows, outside: float
) -> Iterator[jax.Array]:
    """Yields the elements at each place of windows along one axis, in float32.

    They are padded with ``outside``; the maps are not.
    """
    window, stride, padding = windows
    before, after = padding[axis - 1]
    size = x.shape[axis]
    length = (size + before + after - window) // stride + 1
    for shift in range(-before, window - before):
        # Window i has element i * stride + shift; from first to end, it is in the maps.
        first = max(0, -(shift // stride))
        end = min(length, (size - 1 - shift) // stride + 1)
        if first < end:
            last = (end - 1) * stride + shift
            view = lax.slice_in_dim(x, first * stride + shift, last + 1, stride, axis)
            margins = [(0, 0, 0)] * x.ndim
            margins[axis] = first, length - end, 0
            yield lax.pad(view.astype(jnp.float32), jnp.float32(outside), margins)


def _pool_forward(x, window, stride, padding):
    y = max_pool(x, window, stride, padding)
    return y, (x, y)


def _pool_backward(window, stride, padding, saved, gradient):
    x, y = saved

    def cpu(x, y, gradient):
        # The first of equal elements of a window gets the gradient, as in XLA.
        margins = [(0, 0, 0), *((*each, 0) for each in padding), (0, 0, 0)]
        padded = lax.pad(x, jnp.array(-jnp.inf, x.dtype), margins)
        seen = views(padded, (window, window), stride)
        nowhere = jnp.uint8(len(seen))  # no position; where a spread map has a gap
        first = jnp.full(y.shape, nowhere)
        for index in reversed(range(len(seen))):
            first = jnp.where(seen[index] == y, jnp.uint8(index), first)
        first, gradient = lax.optimization_barrier((first, gradient))
        rest = [(size - window) % stride for size in padded.shape[1:3]]
        total = jnp.zeros(padded.shape, jnp.float32)
        for index in range(len(seen)):
            i, j = divmod(index, window)
            rows = (i, window - 1 - i + rest[0], stride - 1)
            columns = (j, window - 1 - j + rest[1], stride - 1)
            places = [(0, 0, 0), rows, columns, (0, 0, 0)]
            is_here = lax.pad(first, nowhere, places) == index
            spread = lax.pad(gradient, jnp.zeros((), gradient.dtype), places)
            total += jnp.where(is_here, spread.astype(jnp.float32), 0.0)
        own = [(-low, -high, inside) for low, high, inside in margins]
        return lax.pad(total.astype(x.dtype), jnp.zeros((), x.dtype), own)

    def plain(x, y, gradient):
        pool = partial(_plain_max_pool, window=window, stride=stride, padding=padding)
        return jax.vjp(pool, x)[1](gradient)[0]

    return (choose(cpu, plain, x, y, gradient),)


max_pool.defvjp(_pool_forward, _pool_backward)


def avg_pool(
    x: jax.Array,
    window: int,
    stride: int,
    padding: Padding,
    count_padding: bool,
) -> jax.Array:
    """Takes the mean over windows of maps [B, H, W, C].

    Padding counts as zeros, or not at all: the mean is then of a map's own elements.
    """

    def plain(x: jax.Array) -> jax.Array:
        mean = partial(
            nn.avg_pool, window_shape=(window, window), strides=(stride, stride)
        )
        y = mean(_pad(x, padding, 0.0))
        if not count_padding:
            own = _pad(jnp.ones((1, *x.shape[1:3], 1)), padding, 0.0)
            y = y / mean(own)
        return y.astype(x.dtype)

    def cpu(x: jax.Array) -> jax.Array:
        def total(x: jax.Array, axis: int) -> jax.Array:
            seen = _seen(x, axis, Windows(window, stride, padding), 0.0)
            return reduce(jnp.add, seen)

        y = total(lax.optimization_barrier(total(x, 2)), 1)
        number: Any = window**2
        if not count_padding:
            number = total(total(jnp.ones((1, *x.shape[1:3], 1)), 2), 1)
        return (y / number).astype(x.dtype)

    return choose(cpu, plain, x)
