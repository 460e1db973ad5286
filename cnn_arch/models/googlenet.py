"""GoogLeNet.

C. Szegedy, W. Liu, Y. Jia, P. Sermanet, S. Reed, D. Anguelov, D. Erhan, V. Vanhoucke,
A. Rabinovich, "Going Deeper with Convolutions", CVPR 2015.
https://arxiv.org/abs/1409.4842

Names are from Figure 3. Pooling keeps partial windows: 112 halves to 56. The paper
gives no initialisation: weights are uniform with variance 1 / fan-in and biases are
0.2, as in BVLC's Caffe model. Section 5 compares average pooling with dense layers,
which it does not describe: ``head = "dense"`` only leaves out the average, so that the
last layer reads all positions.

``GoogLeNetBN`` is torchvision's ``googlenet``, whose weights fit: BatchNorm after each
convolution, no local response normalisation, 3x3 in place of 5x5 (its known bug), a 2x2
window in pool4, dropout 0.2, auxiliary heads that average to 4x4 at any size, and
weights from N(0, 0.01^2).

Deviations: dropout scales while training; the function is the same.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnn_arch.models.layers import (
    AvgPool,
    Conv,
    ConvBN,
    ConvMaker,
    Dense,
    Dropout,
    GlobalAvgPool,
    LocalResponseNorm,
    MaxPool,
    batch_norm,
    concatenate,
    flatten,
    keep_aux_logits,
    relu,
)
from cnn_arch.ops.split import Axes

# Table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj.
Widths = tuple[int, int, int, int, int, int]
INCEPTION: dict[str, Widths] = {
    "3a": (64, 96, 128, 16, 32, 32),  # [B, 28, 28, 256]
    "3b": (128, 128, 192, 32, 96, 64),  # [B, 28, 28, 480]
    "4a": (192, 96, 208, 16, 48, 64),  # [B, 14, 14, 512]
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),  # [B, 14, 14, 528]
    "4e": (256, 160, 320, 32, 128, 128),  # [B, 14, 14, 832]
    "5a": (256, 160, 320, 32, 128, 128),  # [B, 7, 7, 832]
    "5b": (384, 192, 384, 48, 128, 128),  # [B, 7, 7, 1024]
}
AUX = {"4a": "aux1", "4d": "aux2"}  # Section 5: heads "on top of (4a) and (4d)"
xavier = nn.initializers.lecun_uniform()  # as Caffe's: variance 1 / fan-in


class Inception(nn.Module):
    """Figure 2(b): four branches, with 1x1 convolutions before the costly ones.

    Maps [B, H, W, C] to [B, H, W, the sum of #1x1, #3x3, #5x5 and pool proj].
    """

    widths: Widths
    conv: ConvMaker
    kernel_5x5: int = 5  # torchvision: 3

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        n1x1, n3x3_reduce, n3x3, n5x5_reduce, n5x5, pool_proj = self.widths
        conv = self.conv
        y1 = conv(n1x1, 1, name="1x1")(x)
        y3 = conv(n3x3_reduce, 1, name="3x3_reduce")(x)
        y3 = conv(n3x3, 3, name="3x3")(y3)
        y5 = conv(n5x5_reduce, 1, name="5x5_reduce")(x)
        y5 = conv(n5x5, self.kernel_5x5, name="5x5")(y5)
        pooled = MaxPool(3, 1, padding=1, name="pool")(x)
        pooled = conv(pool_proj, 1, name="pool_proj")(pooled)
        return concatenate(y1, y3, y5, pooled)


class NaiveInception(nn.Module):
    """Figure 2(a): convolutions and pooling as parallel branches.

    Maps [B, H, W, C] to [B, H, W, the sum of the three widths and C].
    """

    widths: tuple[int, int, int]  # #1x1, #3x3, #5x5
    conv: ConvMaker

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        n1x1, n3x3, n5x5 = self.widths
        y1 = self.conv(n1x1, 1, name="1x1")(x)
        y3 = self.conv(n3x3, 3, name="3x3")(x)
        y5 = self.conv(n5x5, 5, name="5x5")(x)
        pooled = MaxPool(3, 1, padding=1, name="pool")(x)
        return concatenate(y1, y3, y5, pooled)


class AuxiliaryHead(nn.Module):
    """Section 5: maps [B, 14, 14, C] to logits [B, num_classes]."""

    num_classes: int
    train: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        options: dict[str, Any] = {
            "kernel_init": xavier,
            "bias_init": nn.initializers.constant(0.2),
            "dtype": self.dtype,
        }
        x = AvgPool(5, 3, name="pool")(x)  # [B, 4, 4, C]
        x = Conv(128, 1, activation=relu, name="conv", **options)(x)
        x = Dense(1024, relu, name="fc1", **options)(x.reshape(x.shape[0], -1))
        x = Dropout(0.7, deterministic=not self.train, name="drop")(x)
        logits = Dense(self.num_classes, kernel_init=xavier, name="fc2")(x)
        keep_aux_logits(self, logits)
        return logits


class GoogLeNet(nn.Module):
    """Maps images [B, 224, 224, C] to logits [B, num_classes] (Table 1).

    While training, the auxiliary heads' logits are in the collection ``aux_logits``.
    """

    num_classes: int = 1000
    aux_heads: bool = True
    head: str = "average"  # Section 5: average | dense
    dropout_rate: float = 0.4  # Table 1
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        conv = partial(
            Conv,
            activation=relu,
            kernel_init=xavier,
            bias_init=nn.initializers.constant(0.2),
            dtype=self.dtype,
        )
        pool = partial(MaxPool, window=3, stride=2, ceil_mode=True)

        x = conv(64, 7, stride=2, padding=3, name="conv1")(x)  # [B, 112, 112, 64]
        x = LocalResponseNorm(name="norm1")(pool(name="pool1")(x))  # [B, 56, 56, 64]
        x = conv(64, 1, name="conv2_reduce")(x)
        x = conv(192, 3, name="conv2")(x)
        x = pool(name="pool2")(LocalResponseNorm(name="norm2")(x))  # [B, 28, 28, 192]
        for block, widths in INCEPTION.items():
            if block in ("4a", "5a"):
                x = pool(name=f"pool{int(block[0]) - 1}")(x)  # 14, 7
            x = Inception(widths, conv, name=f"inception_{block}")(x)
            if block in AUX and self.aux_heads and (train or self.is_initializing()):
                AuxiliaryHead(self.num_classes, train, self.dtype, name=AUX[block])(x)
        if self.head == "average":
            x = GlobalAvgPool(name="pool5")(x)  # [B, 1024]
        else:
            x = flatten(x)  # [B, 50176]
        x = Dropout(self.dropout_rate, deterministic=not train, name="drop")(x)
        return Dense(self.num_classes, kernel_init=xavier, name="fc")(x)


class AdaptiveAvgPool(nn.Module):
    """Averages [B, H, W, C] to [B, size, size, C], over PyTorch's windows."""

    size: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for axis in (1, 2):
            means = []
            for i in range(self.size):
                start = i * x.shape[axis] // self.size
                stop = math.ceil((i + 1) * x.shape[axis] / self.size)
                window = jax.lax.slice_in_dim(x, start, stop, axis=axis)
                means.append(window.mean(axis=axis, keepdims=True))
            x = jnp.concatenate(means, axis=axis)
        return x


class AuxiliaryHeadBN(nn.Module):
    """torchvision's head: maps [B, H, W, C] to logits [B, num_classes]."""

    num_classes: int
    conv: ConvMaker
    train: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        init = nn.initializers.normal(0.01)
        x = self.conv(128, 1, name="conv")(AdaptiveAvgPool(4, name="pool")(x))
        x = x.reshape(x.shape[0], -1)  # [B, 2048]
        x = Dense(1024, relu, kernel_init=init, dtype=self.dtype, name="fc1")(x)
        x = Dropout(0.7, deterministic=not self.train, name="drop")(x)
        logits = Dense(self.num_classes, kernel_init=init, name="fc2")(x)
        keep_aux_logits(self, logits)
        return logits


class GoogLeNetBN(nn.Module):
    """Maps images [B, 224, 224, C] to logits [B, num_classes]: torchvision's variant.

    While training, the auxiliary heads' logits are in the collection ``aux_logits``.
    """

    num_classes: int = 1000
    aux_heads: bool = True
    dropout_rate: float = 0.2
    batch_norm_axis: Axes | None = None  # mesh axes that share batch statistics
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        init = nn.initializers.normal(0.01)
        norm = batch_norm(
            train=train, axis=self.batch_norm_axis, epsilon=1e-3, dtype=self.dtype
        )
        conv = partial(ConvBN, kernel_init=init, norm=norm, dtype=self.dtype)
        pool = partial(MaxPool, stride=2, ceil_mode=True)

        x = conv(64, 7, stride=2, padding=3, name="conv1")(x)  # [B, 112, 112, 64]
        x = pool(3, name="pool1")(x)  # [B, 56, 56, 64]
        x = conv(64, 1, name="conv2_reduce")(x)
        x = conv(192, 3, name="conv2")(x)
        x = pool(3, name="pool2")(x)  # [B, 28, 28, 192]
        for block, widths in INCEPTION.items():
            if block == "4a":
                x = pool(3, name="pool3")(x)  # 14
            elif block == "5a":
                x = pool(2, name="pool4")(x)  # 7
            x = Inception(widths, conv, kernel_5x5=3, name=f"inception_{block}")(x)
            if block in AUX and self.aux_heads and (train or self.is_initializing()):
                AuxiliaryHeadBN(
                    self.num_classes, conv, train, self.dtype, name=AUX[block]
                )(x)
        x = GlobalAvgPool(name="pool5")(x)  # [B, 1024]
        x = Dropout(self.dropout_rate, deterministic=not train, name="drop")(x)
        return Dense(self.num_classes, kernel_init=init, name="fc")(x)
