"""Inception-v4.

C. Szegedy, S. Ioffe, V. Vanhoucke, A. Alemi, "Inception-v4, Inception-ResNet and the
Impact of Residual Connections on Learning", AAAI 2017. https://arxiv.org/abs/1602.07261

Figures 3 to 9 give every width. Names are from the authors' code in TF-Slim. As there,
average pooling does not count the padding, the second branch of Figure 5, which prints
1x7 twice, has 1x7 and 7x1, a head follows Mixed_6h, and weights start from a truncated
normal distribution of variance 2 / fan-in, in dense layers as Glorot's.

TF-Slim and timm exchange 1x7 and 7x1, or 1x3 and 3x1, in 36 convolutions: branch7x7_2
and _3 of the stem, branch7x7dbl_2 to _5 of Mixed_6b to Mixed_6h, branch3x3dbl_2 and _3
of Mixed_7b to Mixed_7d, where the parallel _4a and _4b change places, too. ``tf_slim``
chooses their order and puts pooled branches last: their published weights then fit.

Deviations: BatchNorm's running averages move by 0.1 a step, and it has a scale, as in
timm. Dropout scales while training; the function is the same.
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
    keep_aux_logits,
)
from cnn_arch.ops.split import Axes

he_truncated = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")
glorot = nn.initializers.glorot_uniform()


class Stem(nn.Module):
    """Figure 3: maps images [B, 299, 299, C] to [B, 35, 35, 384]."""

    conv: ConvMaker
    tf_slim: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = self.conv
        first, second = ((1, 7), (7, 1)) if self.tf_slim else ((7, 1), (1, 7))
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
        y7 = conv(64, first, name="branch7x7_2")(y7)
        y7 = conv(64, second, name="branch7x7_3")(y7)
        y7 = conv(96, 3, padding=0, name="branch7x7_4")(y7)
        x = concatenate(y3, y7)  # [B, 71, 71, 192]
        return concatenate(
            conv(192, 3, stride=2, padding=0, name="Conv2d_5a_3x3")(x),
            MaxPool(3, 2, name="pool_5a")(x),
        )


def join(tf_slim: bool, pooled: jax.Array, *others: jax.Array) -> jax.Array:
    """Concatenates branches, the pooled one first; in TF-Slim it is the last."""
    return concatenate(*others, pooled) if tf_slim else concatenate(pooled, *others)


class InceptionA(nn.Module):
    """Figure 4: maps [B, 35, 35, 384] to the same shape."""

    conv: ConvMaker
    tf_slim: bool

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
        return join(self.tf_slim, pooled, y1, y3, y)


class ReductionA(nn.Module):
    """Figure 7: maps [B, 35, 35, 384] to [B, 17, 17, 1024]."""

    conv: ConvMaker
    tf_slim: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = self.conv
        # Table 1, the row of Inception-v4.
        k, l, m, n = 192, 224, 256, 384  # noqa: E741
        y3 = conv(n, 3, stride=2, padding=0, name="branch3x3")(x)
        y = conv(k, 1, name="branch3x3dbl_1")(x)
        y = conv(l, 3, name="branch3x3dbl_2")(y)
        y = conv(m, 3, stride=2, padding=0, name="branch3x3dbl_3")(y)
        return join(self.tf_slim, MaxPool(3, 2, name="pool")(x), y3, y)


class InceptionB(nn.Module):
    """Figure 5: maps [B, 17, 17, 1024] to the same shape."""

    conv: ConvMaker
    tf_slim: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = self.conv
        first, second = ((7, 1), (1, 7)) if self.tf_slim else ((1, 7), (7, 1))
        pooled = AvgPool(3, 1, padding=1, count_padding=False, name="pool")(x)
        pooled = conv(128, 1, name="branch_pool")(pooled)
        y1 = conv(384, 1, name="branch1x1")(x)
        y7 = conv(192, 1, name="branch7x7_1")(x)
        y7 = conv(224, (1, 7), name="branch7x7_2")(y7)
        y7 = conv(256, (7, 1), name="branch7x7_3")(y7)
        y = conv(192, 1, name="branch7x7dbl_1")(x)
        y = conv(192, first, name="branch7x7dbl_2")(y)
        y = conv(224, second, name="branch7x7dbl_3")(y)
        y = conv(224, first, name="branch7x7dbl_4")(y)
        y = conv(256, second, name="branch7x7dbl_5")(y)
        return join(self.tf_slim, pooled, y1, y7, y)


class ReductionB(nn.Module):
    """Figure 8: maps [B, 17, 17, 1024] to [B, 8, 8, 1536]."""

    conv: ConvMaker
    tf_slim: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = self.conv
        y3 = conv(192, 1, name="branch3x3_1")(x)
        y3 = conv(192, 3, stride=2, padding=0, name="branch3x3_2")(y3)
        y7 = conv(256, 1, name="branch7x7x3_1")(x)
        y7 = conv(256, (1, 7), name="branch7x7x3_2")(y7)
        y7 = conv(320, (7, 1), name="branch7x7x3_3")(y7)
        y7 = conv(320, 3, stride=2, padding=0, name="branch7x7x3_4")(y7)
        return join(self.tf_slim, MaxPool(3, 2, name="pool")(x), y3, y7)


class InceptionC(nn.Module):
    """Figure 6: maps [B, 8, 8, 1536] to the same shape."""

    conv: ConvMaker
    tf_slim: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = self.conv
        first, second = ((3, 1), (1, 3)) if self.tf_slim else ((1, 3), (3, 1))
        pooled = AvgPool(3, 1, padding=1, count_padding=False, name="pool")(x)
        pooled = conv(256, 1, name="branch_pool")(pooled)
        y1 = conv(256, 1, name="branch1x1")(x)
        y3 = conv(384, 1, name="branch3x3_1")(x)
        y3 = concatenate(
            conv(256, (1, 3), name="branch3x3_2a")(y3),
            conv(256, (3, 1), name="branch3x3_2b")(y3),
        )
        y = conv(384, 1, name="branch3x3dbl_1")(x)
        y = conv(448, first, name="branch3x3dbl_2")(y)
        y = conv(512, second, name="branch3x3dbl_3")(y)
        y = concatenate(
            conv(256, second, name="branch3x3dbl_4a")(y),
            conv(256, first, name="branch3x3dbl_4b")(y),
        )
        return join(self.tf_slim, pooled, y1, y3, y)


class AuxiliaryHead(nn.Module):
    """TF-Slim: maps [B, 17, 17, 1024] to logits [B, num_classes]."""

    num_classes: int
    conv: ConvMaker

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = AvgPool(5, 3, name="pool")(x)  # [B, 5, 5, 1024]
        x = self.conv(128, 1, name="conv0")(x)
        x = self.conv(768, x.shape[1:3], padding=0, name="conv1")(x)
        logits = Dense(self.num_classes, kernel_init=glorot, name="fc")(x[:, 0, 0])
        keep_aux_logits(self, logits)
        return logits


class InceptionV4(nn.Module):
    """Maps images [B, 299, 299, C] to logits [B, num_classes] (Figure 9).

    While training, the auxiliary head's logits are in the collection ``aux_logits``.
    """

    num_classes: int = 1000
    aux_heads: bool = False  # the paper has none; the recipe has TF-Slim's
    tf_slim: bool = False  # TF-Slim's order of convolutions and branches
    dropout_rate: float = 0.2  # Figure 9: "keep 0.8"
    batch_norm_axis: Axes | None = None  # mesh axes that share batch statistics
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        norm = batch_norm(
            train=train, axis=self.batch_norm_axis, epsilon=1e-3, dtype=self.dtype
        )
        conv = partial(ConvBN, kernel_init=he_truncated, norm=norm, dtype=self.dtype)

        x = Stem(conv, self.tf_slim, name="stem")(x)
        for letter in "bcde":
            x = InceptionA(conv, self.tf_slim, name=f"Mixed_5{letter}")(x)
        x = ReductionA(conv, self.tf_slim, name="Mixed_6a")(x)
        for letter in "bcdefgh":
            x = InceptionB(conv, self.tf_slim, name=f"Mixed_6{letter}")(x)
        if self.aux_heads and (train or self.is_initializing()):
            AuxiliaryHead(self.num_classes, conv, name="aux")(x)
        x = ReductionB(conv, self.tf_slim, name="Mixed_7a")(x)
        for letter in "bcd":
            x = InceptionC(conv, self.tf_slim, name=f"Mixed_7{letter}")(x)
        x = GlobalAvgPool(name="pool")(x)  # [B, 1536]
        x = Dropout(self.dropout_rate, deterministic=not train, name="drop")(x)
        return Dense(self.num_classes, kernel_init=glorot, name="fc")(x)
