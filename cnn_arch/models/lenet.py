"""LeNet-5, and its modern form, which lectures show.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document
Recognition", Proceedings of the IEEE 86(11), 1998, Section II.B.
http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf

Deviation of ``LeNet5``: the output layer is a dense layer for a softmax (850 parameters
at 10 classes) in place of Euclidean distances to fixed 7x12 bitmaps of the characters
(no trained parameters). All layers before it have the paper's 60,000 parameters.

``LeNet`` is the network of A. Zhang et al., "Dive into Deep Learning", Section 7.6
(https://d2l.ai): its second convolution reads all maps, means replace the trained
subsampling, and it has sigmoids and Glorot's initialisation.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cnn_arch.models.layers import AvgPool, Conv, Dense, flatten

# Table I: for each of the 16 maps of C3, the maps of S2 that it reads.
C3_INPUTS = [
    [int(digit) for digit in maps]
    for maps in (
        "012 123 234 345 450 501 0123 1234 2345 3450 4501 5012 0134 1245 0235 012345"
    ).split()
]


def squash(x: jax.Array) -> jax.Array:
    """Returns 1.7159 tanh(2x/3), which maps -1 and 1 to themselves (Appendix A)."""
    return 1.7159 * jnp.tanh(2 / 3 * x)


def uniform_by_fan_in(key: jax.Array, shape: Any, dtype: Any = jnp.float32):
    """Draws from [-2.4/F, 2.4/F]; F is a unit's number of inputs (Appendix A)."""
    bound = 2.4 / math.prod(shape[:-1])
    return jax.random.uniform(key, shape, dtype, -bound, bound)


class Subsampling(nn.Module):
    """Halves a map: the sum over each 2x2 square, a gain and a bias for each map."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        def uniform(key, shape):  # 2.4 / 4: a unit has four inputs (Appendix A)
            return jax.random.uniform(key, shape, minval=-0.6, maxval=0.6)

        gain = self.param("gain", uniform, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        squares = 4 * AvgPool(2, 2, name="mean")(x)
        return squares * gain.astype(self.dtype) + bias.astype(self.dtype)


class TableConv(nn.Module):
    """C3: a 5x5 convolution in which each map reads only its inputs of Table I.

    The kernel has the table's 60 connections, 1,500 weights. The layer computes a dense
    convolution with zeros elsewhere: 240,000 multiply-adds instead of the paper's
    150,000, but grouped convolutions are a hundred times slower on a CPU.
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        inputs = np.concatenate(C3_INPUTS)
        sizes = [len(maps) for maps in C3_INPUTS]
        outputs = np.repeat(np.arange(len(C3_INPUTS)), sizes)

        def uniform(key, shape):  # a unit has 25 inputs on each map that it reads
            bound = 2.4 / (25 * np.repeat(sizes, sizes))
            return bound * jax.random.uniform(key, shape, minval=-1.0)

        kernel = self.param("kernel", uniform, (5, 5, len(inputs)))
        bias = self.param("bias", nn.initializers.zeros, (len(C3_INPUTS),))
        dense = jnp.zeros((5, 5, x.shape[-1], len(C3_INPUTS)), kernel.dtype)
        x = jax.lax.conv_general_dilated(
            x.astype(self.dtype),
            dense.at[:, :, inputs, outputs].set(kernel).astype(self.dtype),
            window_strides=(1, 1),
            padding="VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return x + bias.astype(self.dtype)


class LeNet5(nn.Module):
    """Maps images [B, 32, 32, C] to logits [B, num_classes]."""

    num_classes: int = 10
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        init = uniform_by_fan_in
        options: dict[str, Any] = {"kernel_init": init, "dtype": self.dtype}
        conv = partial(Conv, kernel_size=5, padding=0, activation=squash, **options)
        x = conv(6, name="C1")(x)  # [B, 28, 28, 6]
        x = squash(Subsampling(self.dtype, name="S2")(x))  # [B, 14, 14, 6]
        x = squash(TableConv(self.dtype, name="C3")(x))  # [B, 10, 10, 16]
        x = squash(Subsampling(self.dtype, name="S4")(x))  # [B, 5, 5, 16]
        x = conv(120, name="C5")(x)  # [B, 1, 1, 120]
        x = Dense(84, squash, name="F6", **options)(flatten(x))
        return Dense(self.num_classes, kernel_init=init, name="output")(x)


class LeNet(nn.Module):
    """Maps images [B, 28, 28, C] to logits [B, num_classes]: 61,706 parameters."""

    num_classes: int = 10
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        init = nn.initializers.glorot_uniform()
        options: dict[str, Any] = {
            "activation": nn.sigmoid,
            "kernel_init": init,
            "dtype": self.dtype,
        }
        x = Conv(6, 5, padding=2, name="conv1", **options)(x)  # [B, 28, 28, 6]
        x = AvgPool(2, 2, name="pool1")(x)  # [B, 14, 14, 6]
        x = Conv(16, 5, padding=0, name="conv2", **options)(x)  # [B, 10, 10, 16]
        x = AvgPool(2, 2, name="pool2")(x)  # [B, 5, 5, 16]
        x = Dense(120, name="fc1", **options)(flatten(x))
        x = Dense(84, name="fc2", **options)(x).astype(jnp.float32)
        return Dense(self.num_classes, kernel_init=init, name="fc3")(x)
