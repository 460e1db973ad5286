"""Convolution in two forms: the plain one, and one that is fast on a CPU.

``platform`` chooses. Measured on two cores with XLA's oneDNN calls (jax 0.12;
benchmarks/README.md has whole training steps):

- XLA computes a kernel's gradient as a convolution with the gradient as its kernel and
  images in place of maps. Its result has rows of three pixels for a 3x3 kernel, and
  oneDNN works on sixteen at once. With columns and channels of the maps in one axis, a
  row has three times the channels: 3.5 ms instead of 5.6 for 128 images of 32 x 32 x 16
  in bfloat16. Matrix products, one for each tap of the kernel, need copies of the maps.
- oneDNN reads this kernel, the gradient, again for every few pixels of a row. In parts
  of eight or more images it stays in the caches: 6.3 ms instead of 10 in float32 (and
  24 by matrix products), 9 instead of 21 with AVX2 alone.
- With AMX in bfloat16, oneDNN (of jax 0.12) computes a wrong result if the kernel is
  about 26 pixels wide or wider, not dilated, and reads an even number of maps below 16.
  A gradient in the place of the kernel is not dilated only if the maps have one
  channel. That case is computed in float32.
- XLA fuses the cast of a bfloat16 gradient into the convolution that reads it and then
  computes in float32. A barrier keeps the cast separate.
- The input gradient of a strided convolution is dilated: of its products, three in four
  are with zeros at stride 2. In bfloat16 oneDNN computes them, and needs the zeros
  written out. Without the zeros, each pixel meets only some taps of the kernel; a
  convolution for each such phase takes 6.6 ms instead of 18 for 16 images of 64 x 56 x
  56 and a 3x3 kernel to 128 maps, and in float32 11 ms instead of 15, where XLA's own
  loop skips the zeros (AVX-512 with bfloat16).
- An input gradient reads the kernel turned and transposed; with a barrier between the
  two, XLA needs half the time.
- XLA exchanges a kernel and its maps if the kernel has more taps than a map has pixels,
  as 5x5 on 4 x 4. Then its own loop computes, at 3 GFLOP/s on a core with AVX2; oneDNN
  makes 70. Written out, the padding adds pixels.
- XLA puts the axes of a convolution into the order that oneDNN is fast for, but not in
  a loop. So the gradient of a kernel is written in this order.
- A 1x1 convolution of stride 2 reads one pixel in four: the CPU form slices them first.
- A product for each position has two axes of positions, which oneDNN takes ten times as
  long for as for one axis.
- A grouped convolution runs at 8 GFLOP/s; one convolution for each group runs at 100 to
  2,500.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from cnn_arch.ops.platform import choose, largest_divisor

Padding = tuple[tuple[int, int], ...]  # of rows and columns, both sides
NO_PADDING: Padding = (0, 0), (0, 0)

# In bfloat16, the gradient of a kernel is faster in float32 if there are fewer images
# than FEW_IMAGES. From WRITTEN_OUT input maps on, it is faster if the padding of the
# maps is written out.
FEW_IMAGES, WRITTEN_OUT = 4, 48
# In float32, the images are cut into at most PARTS parts. A part has IMAGES_OF_A_PART
# images or more, whose gradient has about PART elements.
PARTS, IMAGES_OF_A_PART, PART = 8, 8, 2**17
# If a part has more pixels than LONGEST_SUM, its rows are cut too, into at most
# MOST_ROW_PARTS: a sum over 43,000 pixels erred by 2.7e-6.
LONGEST_SUM, MOST_ROW_PARTS = 2**14, 16
# oneDNN's matrix products are slow on operands of many rows and few columns: these are
# cut into parts of about this many rows.
ROWS_OF_A_PRODUCT = 1500
SMALL_PRODUCT = 256 * 256  # cut only if the result has at most so many elements


def _plain_conv(
    x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, groups: int
) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def convolve(
    x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, groups: int
) -> jax.Array:
    """Convolves maps [B, H, W, C] with a kernel [h, w, C / groups, features].

    Both have the same dtype. Each group of features reads one group of maps.
    """
    by_group = partial(_cpu_conv, stride=stride, padding=padding)
    cpu = partial(_by_group, by_group, groups)
    plain = partial(_plain_conv, stride=stride, padding=padding, groups=groups)
    return choose(cpu, plain, x, kernel)


def _forward(x, kernel, stride, padding, groups):
    return convolve(x, kernel, stride, padding, groups), (x, kernel)


def _backward(stride, padding, groups, saved, gradient):
    x, kernel = saved

    def cpu(x, kernel, gradient):
        gradient = lax.optimization_barrier(gradient)
        by_input = partial(_input_gradient, stride=stride, padding=padding)
        by_kernel = partial(_kernel_gradient, stride=stride, padding=padding)
        return (
            _by_group(by_input, groups, gradient, kernel, x),
            _by_group(by_kernel, groups, gradient, kernel, x),
        )

    def plain(x, kernel, gradient):
        conv = partial(_plain_conv, stride=stride, padding=padding, groups=groups)
        return jax.vjp(conv, x, kernel)[1](gradient)

    return choose(cpu, plain, x, kernel, gradient)


convolve.defvjp(_forward, _backward)


def _by_group(function: Any, groups: int, *arrays: jax.Array) -> jax.Array:
    """Applies a function to the maps of each group and puts the results together."""
    if groups == 1:
        return function(*arrays)
    split = [jnp.split(array, groups, axis=-1) for array in arrays]
    results = [function(*parts) for parts in zip(*split, strict=True)]
    return jnp.concatenate(results, axis=-1)


def _is_pointwise(kernel: jax.Array, padding: Padding) -> bool:
    return kernel.shape[:2] == (1, 1) and padding == NO_PADDING


def _cpu_conv(
    x: jax.Array, kernel: jax.Array, stride: int, padding: Padding
) -> jax.Array:
    if _is_pointwise(kernel, padding):
        x, stride = x[:, ::stride, ::stride], 1
    return _conv_in_order(x, kernel, stride, padding)


def _conv_in_order(
    x: jax.Array, kernel: jax.Array, stride: int, padding: Padding
) -> jax.Array:
    """Convolves; writes the padding out if XLA would not call oneDNN otherwise.

    That is where the padding is negative, or where XLA would exchange the operands.
    """
    if _is_exchanged(x, kernel) or min(min(pair) for pair in padding) < 0:
        x, padding = lax.optimization_barrier(_pad(x, padding)), NO_PADDING
    return _plain_conv(x, kernel, stride, padding, groups=1)


def _is_exchanged(x: jax.Array, kernel: jax.Array) -> bool:
    return math.prod(kernel.shape[:2]) > math.prod(x.shape[1:3])


def _input_gradient(
    gradient: jax.Array, kernel: jax.Array, x: jax.Array, stride: int, padding: Padding
) -> jax.Array:
    """Convolves the gradient with the taps of each phase, and interleaves the results.

    A row of x, shifted by the padding, is of phase r if it is ``stride * q + r``: only
    the taps r, r + stride, ... read it. Columns have phases, too.
    """
    images, height, width, inputs = x.shape
    top, left = (low % stride for low, _ in padding)
    sizes = -(-(height + top) // stride), -(-(width + left) // stride)

    def phase(row: int, column: int) -> jax.Array:
        taps = kernel[row::stride, column::stride]
        if taps.size == 0:  # no tap reads these pixels
            return jnp.zeros((images, *sizes, inputs), gradient.dtype)
        margins = [
            (
                taps.shape[axis] - 1 - low // stride,
                sizes[axis] + low // stride - gradient.shape[axis + 1],
            )
            for axis, (low, _) in enumerate(padding)
        ]
        turned = lax.optimization_barrier(jnp.flip(taps, (0, 1))).swapaxes(2, 3)
        return _conv_in_order(gradient, turned, 1, tuple(margins))

    phases = [[phase(i, j) for j in range(stride)] for i in range(stride)]
    y = jnp.stack([jnp.stack(each, axis=3) for each in phases], axis=2)
    y = y.reshape(images, *(size * stride for size in sizes), inputs)
    return y[:, top : top + height, left : left + width]


def _kernel_gradient(
    gradient: jax.Array, kernel: jax.Array, x: jax.Array, stride: int, padding: Padding
) -> jax.Array:
    """Sums the outer products of the pixels that each tap of the kernel connects."""
    if _is_pointwise(kernel, padding):
        return _outer(x[:, ::stride, ::stride], gradient).reshape(kernel.shape)
    correlate = partial(_correlate, shape=kernel.shape, stride=stride)
    images, _, _, inputs = x.shape
    if x.dtype == jnp.bfloat16:
        if inputs == 1 or images < FEW_IMAGES:
            wide = gradient.astype(jnp.float32), x.astype(jnp.float32)
            return correlate(*wide, padding=padding).astype(x.dtype)
        if inputs >= WRITTEN_OUT and stride == 1:
            x, padding = lax.optimization_barrier(_pad(x, padding)), NO_PADDING
        return correlate(gradient, x, padding=padding)
    of_a_part = max(IMAGES_OF_A_PART, images * PART // gradient.size)
    parts = largest_divisor(images, min(PARTS, images // of_a_part))
    pairs = list(zip(jnp.split(gradient, parts), jnp.split(x, parts), strict=True))
    if images // parts * math.prod(gradient.shape[1:3]) > LONGEST_SUM:
        cut = partial(_cut_rows, taps=len(kernel), stride=stride)
        pairs = [rows for y, maps in pairs for rows in cut(y, _pad(maps, padding))]
        padding = NO_PADDING
    return jnp.stack([correlate(*pair, padding=padding) for pair in pairs]).sum(axis=0)


def _pad(x: jax.Array, padding: Padding) -> jax.Array:
    """Adds zeros around maps; takes pixels away where the padding is negative."""
    sides = [(0, 0, 0), *((*pair, 0) for pair in padding), (0, 0, 0)]
    return lax.pad(x, jnp.zeros((), x.dtype), sides)


def _cut_rows(
    gradient: jax.Array, x: jax.Array, taps: int, stride: int
) -> list[tuple[jax.Array, jax.Array]]:
    """Returns some rows of the gradient at a time, and the rows of x that they read."""
    images, height, width, _ = gradient.shape
    size = max(LONGEST_SUM // (images * width), -(-height // MOST_ROW_PARTS))
    pairs = []
    for start in range(0, height, size):
        rows = gradient[:, start : start + size]
        first, last = start * stride, (start + rows.shape[1] - 1) * stride
        pairs.append((rows, x[:, first : last + taps]))
    return pairs


def _correlate(
    gradient: jax.Array,
    x: jax.Array,
    shape: tuple[int, ...],
    stride: int,
    padding: Padding,
) -> jax.Array:
    """Convolves the maps with the gradient as a kernel, and images in place of maps.

    The maps' columns and channels are one axis, and so are those of the result.
    """
    inputs = x.shape[-1]
    sides = zip(shape[:2], gradient.shape[1:3], x.shape[1:3], padding, strict=True)
    rows, (left, right) = (
        (low, taps + stride * (size - 1) - side - low)
        for taps, size, side, (low, _) in sides
    )
    found = lax.conv_general_dilated(
        x.transpose(1, 2, 3, 0).reshape(1, x.shape[1], -1, len(x)),  # [1, H, W I, B]
        gradient.transpose(1, 2, 0, 3),  # [h, w, B, O]
        window_strides=(1, 1),
        padding=(rows, (left * inputs, right * inputs)),
        rhs_dilation=(stride, stride * inputs),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return found.reshape(shape)


def _outer(x: jax.Array, y: jax.Array) -> jax.Array:
    """Sums outer products over all pixels: [..., C], [..., D] -> [C, D]."""
    inputs, features = x.shape[-1], y.shape[-1]
    num_pixels, parts = x.size // inputs, 1
    if inputs * features <= SMALL_PRODUCT:
        parts = largest_divisor(num_pixels, num_pixels // ROWS_OF_A_PRODUCT)
    x, y = x.reshape(parts, -1, inputs), y.reshape(parts, -1, features)
    if parts == 1:
        return lax.dot_general(x[0], y[0], (((0,), (0,)), ((), ())))
    products = lax.dot_general(x, y, (((1,), (1,)), ((0,), (0,))))
    return products.astype(jnp.float32).sum(axis=0).astype(x.dtype)


def multiply_each_position(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Multiplies maps [B, H, W, I] at each position by its own matrix [H, W, I, O].

    Returns maps [B, H, W, O].
    """

    def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
        y = lax.dot_general(x, kernel, (((3,), (2,)), ((1, 2), (0, 1))))
        return y.transpose(2, 0, 1, 3)

    def cpu(x: jax.Array, kernel: jax.Array) -> jax.Array:
        batch, *place, inputs = x.shape
        rows = x.transpose(1, 2, 0, 3).reshape(-1, batch, inputs)
        y = rows @ kernel.reshape(-1, inputs, kernel.shape[3])  # [H W, B, O]
        return y.reshape(*place, batch, -1).transpose(2, 0, 1, 3)

    return choose(cpu, plain, x, kernel)
