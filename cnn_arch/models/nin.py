"""Network in Network.

M. Lin, Q. Chen, S. Yan, "Network In Network", ICLR 2014.
https://arxiv.org/abs/1312.4400

The paper draws the network (Figure 2) without sizes; these are from the authors' models
for ImageNet and CIFAR-10. Their weights start from N(0, 0.05^2), in three layers of the
first from N(0, 0.01^2). Every convolution has a ReLU, the last one before the average
as well (Equation 2). Pooling keeps partial windows, as in Caffe.

Section 4.6 replaces the average by a dense layer, with and without dropout before it:
the ``head`` of the network for CIFAR-10. No file of the authors has this layer; it
starts as the others.

Deviations: dropout scales while training; the function is the same.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnn_arch.models.layers import (
    AvgPool,
    Conv,
    Dense,
    Dropout,
    GlobalAvgPool,
    MaxPool,
    flatten,
    relu,
)


class MlpConv(nn.Module):
    """A convolution and two 1x1 convolutions, each with ReLU (Section 3.1)."""

    widths: tuple[int, int, int]
    kernel_size: int
    stride: int = 1
    padding: int | None = None
    deviations: tuple[float, float, float] = (0.05, 0.05, 0.05)  # of initial weights
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = partial(Conv, activation=relu, dtype=self.dtype)
        first, second, third = self.widths
        init, init1, init2 = map(nn.initializers.normal, self.deviations)
        size, stride, padding = self.kernel_size, self.stride, self.padding
        x = conv(first, size, stride, padding, kernel_init=init, name="conv")(x)
        x = conv(second, 1, kernel_init=init1, name="mlp1")(x)
        return conv(third, 1, kernel_init=init2, name="mlp2")(x)


class NiN(nn.Module):
    """Maps images [B, 224, 224, C] to logits [B, num_classes]: the ImageNet model."""

    num_classes: int = 1000
    dropout_rate: float = 0.5
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        mlpconv = partial(MlpConv, dtype=self.dtype)
        narrow = 0.01, 0.05, 0.05  # deviations in two of the authors' layers
        x = mlpconv((96, 96, 96), 11, 4, 0, narrow, name="mlpconv1")(x)
        x = MaxPool(3, 2, ceil_mode=True, name="pool1")(x)  # [B, 27, 27, 96]
        x = mlpconv((256, 256, 256), 5, name="mlpconv2")(x)
        x = MaxPool(3, 2, ceil_mode=True, name="pool2")(x)  # [B, 13, 13, 256]
        x = mlpconv((384, 384, 384), 3, deviations=narrow, name="mlpconv3")(x)
        x = MaxPool(3, 2, ceil_mode=True, name="pool3")(x)  # [B, 6, 6, 384]
        x = Dropout(self.dropout_rate, deterministic=not train, name="drop3")(x)
        widths = 1024, 1024, self.num_classes
        x = mlpconv(widths, 3, deviations=(0.05, 0.05, 0.01), name="mlpconv4")(x)
        return GlobalAvgPool(name="pool4")(x.astype(jnp.float32))


class CifarNiN(nn.Module):
    """Maps images [B, 32, 32, C] to logits [B, num_classes]: the CIFAR-10 model."""

    num_classes: int = 10
    dropout_rate: float = 0.5
    head: str = "average"  # Section 4.6: average | dense
    head_dropout_rate: float = 0.0  # before the dense layer; Section 4.6 has both
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        dtype = self.dtype
        x = MlpConv((192, 160, 96), 5, dtype=dtype, name="mlpconv1")(x)
        x = MaxPool(3, 2, ceil_mode=True, name="pool1")(x)  # [B, 16, 16, 96]
        x = Dropout(self.dropout_rate, deterministic=not train, name="drop1")(x)
        x = MlpConv((192, 192, 192), 5, dtype=dtype, name="mlpconv2")(x)
        pool2 = AvgPool(3, 2, ceil_mode=True, count_padding=False, name="pool2")
        x = pool2(x)  # [B, 8, 8, 192]
        x = Dropout(self.dropout_rate, deterministic=not train, name="drop2")(x)
        widths = 192, 192, self.num_classes
        x = MlpConv(widths, 3, dtype=dtype, name="mlpconv3")(x)  # [B, 8, 8, classes]
        x = x.astype(jnp.float32)
        if self.head == "average":
            return GlobalAvgPool(name="pool3")(x)
        x = flatten(x)  # [B, 64 classes]
        x = Dropout(self.head_dropout_rate, deterministic=not train, name="drop3")(x)
        init = nn.initializers.normal(0.05)
        return Dense(self.num_classes, kernel_init=init, name="fc")(x)
