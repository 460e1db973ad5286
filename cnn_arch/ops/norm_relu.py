"""ReLU, bias and BatchNorm in two forms: plain, and fast on a CPU.

``platform`` chooses. Measured on two cores with XLA's oneDNN calls (jax 0.12;
benchmarks/README.md has whole training steps):

- A reduction is vectorised only if it reads its operand from memory (2.4 ms instead
  of 14 for 32 maps of 64 x 112 x 112): hence the barriers in BatchNorm. Without one,
  XLA turns the gradient of a bias into a ``reduce_window``, a third of VGG-16's step.
- The conversion to float32, not memory, limits a reduction of bfloat16. The maps are
  cut into sixteen parts, which a loop adds before the reduction: a quarter of the time
  (1.6 ms instead of 6 for BatchNorm's two sums over 16 of those maps).
- Every loop that reads a ReLU computes it again, unless a barrier keeps the result. A
  selection of bfloat16 is not vectorised (4 ms instead of 1 for 16 maps of 128 images
  of 32 x 32). Both together took half of ResNet-20's step. oneDNN takes a ReLU into the
  convolution before it if it is computed in float32: half of ResNet-20's forward pass
  in bfloat16 (12 ms instead of 26 for 128 images).
- The same is true of gradients. In local response normalisation, five loops read each
  map's gradient, and each computed the gradient of the next pooling layer again: half
  of AlexNet's step (0.23 of 0.47 s, batch 16).
- XLA vectorises a loop over the last axis alone, and not if it is short. BatchNorm and
  ReLU of 128 maps of 32 x 32 x 16 took 1.2 ms in bfloat16 and 1.9 in float32, and 0.35
  and 0.7 in rows of 32 x 16. The barrier after a row keeps XLA from looping over the
  channels all the same.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from cnn_arch.ops.platform import choose, in_memory, largest_divisor
from cnn_arch.ops.split import Axes

NARROW = 32  # maps with fewer channels are computed as rows
TERMS_OF_A_SUM = 16  # parts of bfloat16 maps that a loop adds before the reduction


def _rows(x: jax.Array) -> jax.Array:
    """Views maps [B, H, W, C] as [B, H, W * C] if they have few channels."""
    if x.ndim != 4 or x.shape[-1] >= NARROW:
        return x
    return x.reshape(*x.shape[:2], -1)


def _maps(rows: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Views what was computed in rows as maps of this shape again."""
    if rows.shape == shape:
        return rows
    return lax.optimization_barrier(rows).reshape(shape)


def _along(rows: jax.Array, *channels: jax.Array) -> tuple[jax.Array, ...]:
    """Repeats vectors [C] for each pixel of a row."""
    times = rows.shape[-1] // channels[0].shape[0]
    if times == 1:
        return channels
    return lax.optimization_barrier(tuple(jnp.tile(each, times) for each in channels))


@jax.custom_vjp
def keep_gradient(x: jax.Array) -> jax.Array:
    """Returns x; its gradient is computed once, even if several loops read it."""
    return x


keep_gradient.defvjp(lambda x: (x, None), lambda _, gradient: in_memory(gradient))


@jax.custom_vjp
def relu(x: jax.Array) -> jax.Array:
    """Replaces negative elements by 0."""

    def cpu(x: jax.Array) -> jax.Array:
        y = jnp.maximum(_rows(x).astype(jnp.float32), 0.0).astype(x.dtype)
        return lax.optimization_barrier(y).reshape(x.shape)

    def plain(x: jax.Array) -> jax.Array:
        return jnp.maximum(x, jnp.zeros((), x.dtype))

    return choose(cpu, plain, x)


def _relu_forward(x):
    y = relu(x)
    return y, y


def _relu_backward(y, gradient):
    def cpu(y, gradient):
        wide = [_rows(array).astype(jnp.float32) for array in (y, gradient)]
        by_x = jnp.where(wide[0] > 0, wide[1], 0.0).astype(y.dtype)
        return _maps(by_x, y.shape)

    def plain(y, gradient):
        return jnp.where(y > 0, gradient, jnp.zeros_like(gradient))

    return (choose(cpu, plain, y, gradient),)


relu.defvjp(_relu_forward, _relu_backward)


@jax.custom_vjp
def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """Adds a float32 bias [C] to maps [..., C] of any dtype."""
    return x + bias.astype(x.dtype)


def _bias_forward(x, bias):
    return add_bias(x, bias), None


def _bias_backward(_, gradient):
    return gradient, gradient.size // gradient.shape[-1] * _mean_product(gradient)


add_bias.defvjp(_bias_forward, _bias_backward)


def _mean_product(*arrays: jax.Array) -> jax.Array:
    """Returns each channel's mean of the product of maps [..., C], float32 [C]."""

    def product(arrays: tuple[jax.Array, ...]) -> jax.Array:
        first, *others = (array.astype(jnp.float32) for array in arrays)
        return math.prod(others, start=first)

    def plain(*arrays: jax.Array) -> jax.Array:
        return product(arrays).mean(axis=range(arrays[0].ndim - 1))

    def cpu(*arrays: jax.Array) -> jax.Array:
        arrays = lax.optimization_barrier(arrays)
        if arrays[0].dtype != jnp.bfloat16:
            return plain(*arrays)
        *pixels, num_channels = arrays[0].shape
        terms = largest_divisor(math.prod(pixels), TERMS_OF_A_SUM)
        parts = [array.reshape(terms, -1) for array in arrays]
        sums = sum(product(part) for part in zip(*parts, strict=True))
        sums = lax.optimization_barrier(sums).reshape(-1, num_channels)
        return sums.mean(axis=0) / terms

    return choose(cpu, plain, *arrays)


def _share(values: tuple[jax.Array, ...], axis: Axes | None) -> tuple[jax.Array, ...]:
    return lax.pmean(values, axis) if axis else values


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def batch_norm(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, axis: Axes | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises maps [..., C] by their own statistics.

    Devices along the mesh axes ``axis`` share statistics. ``scale`` and ``bias`` are
    float32 [C]; ``epsilon`` is added to the variance.

    Returns:
      The normalised maps, of x's dtype; mean and variance, float32 [C]. Only the maps
      carry gradients.
    """
    return _norm_forward(x, scale, bias, epsilon, axis)[0]


def _norm_forward(x, scale, bias, epsilon, axis):
    mean, square = _share((_mean_product(x), _mean_product(x, x)), axis)
    variance = jnp.maximum(square - jnp.square(mean), 0.0)
    inverse = lax.rsqrt(variance + epsilon)

    def plain(x, mean, slope, bias):
        y = (x.astype(jnp.float32) - mean) * slope + bias
        return y.astype(x.dtype)

    def cpu(x, *channels):
        rows = _rows(x)
        return plain(rows, *_along(rows, *channels)).reshape(x.shape)

    y = choose(cpu, plain, x, mean, scale * inverse, bias)
    return (y, mean, variance), (x, scale, mean, inverse)


def _norm_backward(epsilon, axis, saved, gradients):
    x, scale, mean, inverse = saved
    (gradient,) = in_memory(gradients[0])
    by_bias = _mean_product(gradient)
    by_scale = inverse * (_mean_product(gradient, x) - mean * by_bias)
    count = x.size // x.shape[-1]
    own = count * by_scale, count * by_bias
    by_scale, by_bias = _share((by_scale, by_bias), axis)
    slope = -scale * jnp.square(inverse) * by_scale
    shift = -scale * inverse * by_bias - slope * mean

    def plain(gradient, x, factor, slope, shift):
        wide = gradient.astype(jnp.float32), x.astype(jnp.float32)
        return (factor * wide[0] + slope * wide[1] + shift).astype(x.dtype)

    def cpu(gradient, x, *channels):
        rows = _rows(gradient), _rows(x)
        return _maps(plain(*rows, *_along(rows[0], *channels)), x.shape)

    by_x = choose(cpu, plain, gradient, x, scale * inverse, slope, shift)
    return by_x, *own


batch_norm.defvjp(_norm_forward, _norm_backward)
