"""Inception-v4.

C. Szegedy, S. Ioffe, V. Vanhoucke, A. Alemi, "Inception-v4, Inception-ResNet and the
Impact of Residual Connections on Learning", AAAI 2017. https://arxiv.org/abs/1602.07261

Figures 3 to 9 give every width. Names are from the authors' code in TF-Slim. As there,
average pooling does not count the padding, and the second branch of Figure 5, which
prints 1x7 twice, has 1x7 and 7x1. Weights start as in Inception-v3.

Deviations: BatchNorm's running averages move by 0.1 a step. Dropout scales while
training; the function is the same.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnn_arch.models.layers import (
    AvgPool,
    ConvBN,
    ConvMaker,
    Dense,
    Dropout,
    GlobalAvgPool,
    MaxPool,
    batch_norm,
    concatenate,
)
from cnn_arch.ops.split import Axes


class Stem(nn.Module):
    """Figure 3: maps images [B, 299, 299, C] to [B, 35, 35, 384]."""

    conv: ConvMaker

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = self.conv
        x = conv(32, 3, stride=2, padding=0, name="Conv2d_1a_3x3")(x)  # 149
        x = conv(32, 3, padding=0, name="Conv2d_2a_3x3")(x)  # 147
        x = conv(64, 3, name="Conv2d_2b_3x3")(x)
        x = concatenate(
            MaxPool(3, 2, name="pool_3a")(x),
            conv(96, 3, stride=2, padding=0, name="Conv2d_3a_3x3")(x),
        )  # [B, 73, 73, 160]
        y3 = conv(64, 1, name="branch3x3_1")(x)
        y3 = conv(96, 3, padding=0, name="branch3x3_2")(y3)
        y7 = conv(64, 1, name="branch7x7_1")(x)
        y7 = conv(64, (7, 1), name="branch7x7_2")(y7)
        y7 = conv(64, (1, 7), name="branch7x7_3")(y7)
        y7 = conv(96, 3, padding=0, name="branch7x7_4")(y7)
        x = concatenate(y3, y7)  # [B, 71, 71, 192]
        return concatenate(
            conv(192, 3, stride=2, padding=0, name="Conv2d_5a_3x3")(x),
            MaxPool(3, 2, name="pool_5a")(x),
        )


class InceptionA(nn.Module):
    """Figure 4: maps [B, 35, 35, 384] to the same shape."""

    conv: ConvMaker

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = self.conv
        pooled = AvgPool(3, 1, padding=1, count_padding=False, name="pool")(x)
        pooled = conv(96, 1, name="branch_pool")(pooled)
        y1 = conv(96, 1, name="branch1x1")(x)
        y3 = conv(64, 1, name="branch3x3_1")(x)
        y3 = conv(96, 3, name="branch3x3_2")(y3)
        y = conv(64, 1, name="branch3x3dbl_1")(x)
        y = conv(96, 3, name="branch3x3dbl_2")(y)
        y = conv(96, 3, name="branch3x3dbl_3")(y)
        return concatenate(pooled, y1, y3, y)


class ReductionA(nn.Module):
    """Figure 7: maps [B, 35, 35, 384] to [B, 17, 17, 1024]."""

    conv: ConvMaker

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = self.conv
        # Table 1, the row of Inception-v4.
        k, l, m, n = 192, 224, 256, 384  # noqa: E741
        y3 = conv(n, 3, stride=2, padding=0, name="branch3x3")(x)
        y = conv(k, 1, name="branch3x3dbl_1")(x)
        y = conv(l, 3, name="branch3x3dbl_2")(y)
        y = conv(m, 3, stride=2, padding=0, name="branch3x3dbl_3")(y)
        return concatenate(MaxPool(3, 2, name="pool")(x), y3, y)


class InceptionB(nn.Module):
    """Figure 5: maps [B, 17, 17, 1024] to the same shape."""

    conv: ConvMaker

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = self.conv
        pooled = AvgPool(3, 1, padding=1, count_padding=False, name="pool")(x)
        pooled = conv(128, 1, name="branch_pool")(pooled)
        y1 = conv(384, 1, name="branch1x1")(x)
        y7 = conv(192, 1, name="branch7x7_1")(x)
        y7 = conv(224, (1, 7), name="branch7x7_2")(y7)
        y7 = conv(256, (7, 1), name="branch7x7_3")(y7)
        y = conv(192, 1, name="branch7x7dbl_1")(x)
        y = conv(192, (1, 7), name="branch7x7dbl_2")(y)
        y = conv(224, (7, 1), name="branch7x7dbl_3")(y)
        y = conv(224, (1, 7), name="branch7x7dbl_4")(y)
        y = conv(256, (7, 1), name="branch7x7dbl_5")(y)
        return concatenate(pooled, y1, y7, y)


class ReductionB(nn.Module):
    """Figure 8: maps [B, 17, 17, 1024] to [B, 8, 8, 1536]."""

    conv: ConvMaker

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = self.conv
        y3 = conv(192, 1, name="branch3x3_1")(x)
        y3 = conv(192, 3, stride=2, padding=0, name="branch3x3_2")(y3)
        y7 = conv(256, 1, name="branch7x7x3_1")(x)
        y7 = conv(256, (1, 7), name="branch7x7x3_2")(y7)
        y7 = conv(320, (7, 1), name="branch7x7x3_3")(y7)
        y7 = conv(320, 3, stride=2, padding=0, name="branch7x7x3_4")(y7)
        return concatenate(MaxPool(3, 2, name="pool")(x), y3, y7)


class InceptionC(nn.Module):
    """Figure 6: maps [B, 8, 8, 1536] to the same shape."""

    conv: ConvMaker

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = self.conv
        pooled = AvgPool(3, 1, padding=1, count_padding=False, name="pool")(x)
        pooled = conv(256, 1, name="branch_pool")(pooled)
        y1 = conv(256, 1, name="branch1x1")(x)
        y3 = conv(384, 1, name="branch3x3_1")(x)
        y3 = concatenate(
            conv(256, (1, 3), name="branch3x3_2a")(y3),
            conv(256, (3, 1), name="branch3x3_2b")(y3),
        )
        y = conv(384, 1, name="branch3x3dbl_1")(x)
        y = conv(448, (1, 3), name="branch3x3dbl_2")(y)
        y = conv(512, (3, 1), name="branch3x3dbl_3")(y)
        y = concatenate(
            conv(256, (3, 1), name="branch3x3dbl_4a")(y),
            conv(256, (1, 3), name="branch3x3dbl_4b")(y),
        )
        return concatenate(pooled, y1, y3, y)


class InceptionV4(nn.Module):
    """Maps images [B, 299, 299, C] to logits [B, num_classes] (Figure 9)."""

    num_classes: int = 1000
    dropout_rate: float = 0.2  # Figure 9: "keep 0.8"
    batch_norm_axis: Axes | None = None  # mesh axes that share batch statistics
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        init = nn.initializers.truncated_normal(0.1)
        norm = batch_norm(
            train=train, axis=self.batch_norm_axis, epsilon=1e-3, dtype=self.dtype
        )
        conv = partial(ConvBN, kernel_init=init, norm=norm, dtype=self.dtype)

        x = Stem(conv, name="stem")(x)
        for letter in "bcde":
            x = InceptionA(conv, name=f"Mixed_5{letter}")(x)
        x = ReductionA(conv, name="Mixed_6a")(x)
        for letter in "bcdefgh":
            x = InceptionB(conv, name=f"Mixed_6{letter}")(x)
        x = ReductionB(conv, name="Mixed_7a")(x)
        for letter in "bcd":
            x = InceptionC(conv, name=f"Mixed_7{letter}")(x)
        x = GlobalAvgPool(name="pool")(x)  # [B, 1536]
        x = Dropout(self.dropout_rate, deterministic=not train, name="drop")(x)
        return Dense(self.num_classes, kernel_init=init, name="fc")(x)
