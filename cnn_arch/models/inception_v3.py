"""Inception-v3.

C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, "Rethinking the Inception
Architecture for Computer Vision", CVPR 2016. https://arxiv.org/abs/1512.00567

Table 1 and the figures do not give all widths. Widths and names are from the authors'
code in TF-Slim. The network is torchvision's ``inception_v3``, whose weights fit. After
the first pool, Table 1 prints three 3x3 convolutions, the second of stride 2; the code
has a 1x1 and a 3x3 convolution and a pool. Average pooling counts the padding, as in
torchvision. Weights start from a normal distribution of deviation 0.1, in fc of 0.01,
truncated at two deviations (inception_model.py of tensorflow/models).

Deviations: BatchNorm's running averages move by 0.1 a step (torchvision), not by 0.0003
(TF-Slim, for runs of millions of steps). Dropout scales while training; the function is
the same.
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


class InceptionA(nn.Module):
    """Figure 5: two 3x3 in place of one 5x5; one branch keeps a 5x5 (TF-Slim)."""

    pool_width: int
    conv: ConvMaker

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = self.conv
        y1 = conv(64, 1, name="branch1x1")(x)
        y5 = conv(48, 1, name="branch5x5_1")(x)
        y5 = conv(64, 5, name="branch5x5_2")(y5)
        y3 = conv(64, 1, name="branch3x3dbl_1")(x)
        y3 = conv(96, 3, name="branch3x3dbl_2")(y3)
        y3 = conv(96, 3, name="branch3x3dbl_3")(y3)
        pooled = AvgPool(3, 1, padding=1, name="pool")(x)
        pooled = conv(self.pool_width, 1, name="branch_pool")(pooled)
        return concatenate(y1, y5, y3, pooled)


class ReductionA(nn.Module):
    """Figure 10: halves the grid, by strided convolutions and parallel pooling."""

    conv: ConvMaker

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = self.conv
        y3 = conv(384, 3, stride=2, padding=0, name="branch3x3")(x)
        y = conv(64, 1, name="branch3x3dbl_1")(x)
        y = conv(96, 3, name="branch3x3dbl_2")(y)
        y = conv(96, 3, stride=2, padding=0, name="branch3x3dbl_3")(y)
        return concatenate(y3, y, MaxPool(3, 2, name="pool")(x))


class InceptionB(nn.Module):
    """Figure 6: 7x7 convolutions as 1x7 and 7x1."""

    width: int  # of the factors
    conv: ConvMaker

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv, width = self.conv, self.width
        y1 = conv(192, 1, name="branch1x1")(x)
        y7 = conv(width, 1, name="branch7x7_1")(x)
        y7 = conv(width, (1, 7), name="branch7x7_2")(y7)
        y7 = conv(192, (7, 1), name="branch7x7_3")(y7)
        y = conv(width, 1, name="branch7x7dbl_1")(x)
        y = conv(width, (7, 1), name="branch7x7dbl_2")(y)
        y = conv(width, (1, 7), name="branch7x7dbl_3")(y)
        y = conv(width, (7, 1), name="branch7x7dbl_4")(y)
        y = conv(192, (1, 7), name="branch7x7dbl_5")(y)
        pooled = AvgPool(3, 1, padding=1, name="pool")(x)
        pooled = conv(192, 1, name="branch_pool")(pooled)
        return concatenate(y1, y7, y, pooled)


class ReductionB(nn.Module):
    """Halves the grid from 17x17 to 8x8 (TF-Slim's Mixed_7a)."""

    conv: ConvMaker

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = self.conv
        y3 = conv(192, 1, name="branch3x3_1")(x)
        y3 = conv(320, 3, stride=2, padding=0, name="branch3x3_2")(y3)
        y7 = conv(192, 1, name="branch7x7x3_1")(x)
        y7 = conv(192, (1, 7), name="branch7x7x3_2")(y7)
        y7 = conv(192, (7, 1), name="branch7x7x3_3")(y7)
        y7 = conv(192, 3, stride=2, padding=0, name="branch7x7x3_4")(y7)
        return concatenate(y3, y7, MaxPool(3, 2, name="pool")(x))


class InceptionC(nn.Module):
    """Figure 7: parallel 1x3 and 3x1 convolutions, on the coarsest grid."""

    conv: ConvMaker

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = self.conv
        y1 = conv(320, 1, name="branch1x1")(x)
        y3 = conv(384, 1, name="branch3x3_1")(x)
        y3 = concatenate(
            conv(384, (1, 3), name="branch3x3_2a")(y3),
            conv(384, (3, 1), name="branch3x3_2b")(y3),
        )
        y = conv(448, 1, name="branch3x3dbl_1")(x)
        y = conv(384, 3, name="branch3x3dbl_2")(y)
        y = concatenate(
            conv(384, (1, 3), name="branch3x3dbl_3a")(y),
            conv(384, (3, 1), name="branch3x3dbl_3b")(y),
        )
        pooled = AvgPool(3, 1, padding=1, name="pool")(x)
        pooled = conv(192, 1, name="branch_pool")(pooled)
        return concatenate(y1, y3, y, pooled)


class AuxiliaryHead(nn.Module):
    """Figure 8: maps [B, 17, 17, 768] to logits [B, num_classes]."""

    num_classes: int
    conv: ConvMaker

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = AvgPool(5, 3, name="pool")(x)  # [B, 5, 5, 768]
        x = self.conv(128, 1, name="conv0")(x)
        init = nn.initializers.truncated_normal(0.01)
        x = self.conv(768, 5, padding=0, kernel_init=init, name="conv1")(x)
        x = GlobalAvgPool(name="pool1")(x)  # [B, 768]
        init = nn.initializers.truncated_normal(0.001)
        logits = Dense(self.num_classes, kernel_init=init, name="fc")(x)
        keep_aux_logits(self, logits)
        return logits


class InceptionV3(nn.Module):
    """Maps images [B, 299, 299, C] to logits [B, num_classes] (Table 1).

    While training, the auxiliary head's logits are in the collection ``aux_logits``.
    """

    num_classes: int = 1000
    aux_heads: bool = True
    dropout_rate: float = 0.5  # torchvision; TF-Slim 0.2
    batch_norm_axis: Axes | None = None  # mesh axes that share batch statistics
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        init = nn.initializers.truncated_normal(0.1)
        norm = batch_norm(
            train=train, axis=self.batch_norm_axis, epsilon=1e-3, dtype=self.dtype
        )
        conv = partial(ConvBN, kernel_init=init, norm=norm, dtype=self.dtype)

        x = conv(32, 3, stride=2, padding=0, name="Conv2d_1a_3x3")(x)  # 149
        x = conv(32, 3, padding=0, name="Conv2d_2a_3x3")(x)  # 147
        x = conv(64, 3, name="Conv2d_2b_3x3")(x)  # [B, 147, 147, 64]
        x = MaxPool(3, 2, name="MaxPool_3a_3x3")(x)  # 73
        x = conv(80, 1, name="Conv2d_3b_1x1")(x)
        x = conv(192, 3, padding=0, name="Conv2d_4a_3x3")(x)  # [B, 71, 71, 192]
        x = MaxPool(3, 2, name="MaxPool_5a_3x3")(x)  # 35
        x = InceptionA(32, conv, name="Mixed_5b")(x)  # [B, 35, 35, 256]
        x = InceptionA(64, conv, name="Mixed_5c")(x)  # [B, 35, 35, 288]
        x = InceptionA(64, conv, name="Mixed_5d")(x)
        x = ReductionA(conv, name="Mixed_6a")(x)  # [B, 17, 17, 768]
        x = InceptionB(128, conv, name="Mixed_6b")(x)
        x = InceptionB(160, conv, name="Mixed_6c")(x)
        x = InceptionB(160, conv, name="Mixed_6d")(x)
        x = InceptionB(192, conv, name="Mixed_6e")(x)
        if self.aux_heads and (train or self.is_initializing()):
            AuxiliaryHead(self.num_classes, conv, name="aux")(x)
        x = ReductionB(conv, name="Mixed_7a")(x)  # [B, 8, 8, 1280]
        x = InceptionC(conv, name="Mixed_7b")(x)  # [B, 8, 8, 2048]
        x = InceptionC(conv, name="Mixed_7c")(x)
        x = GlobalAvgPool(name="pool")(x)  # [B, 2048]
        x = Dropout(self.dropout_rate, deterministic=not train, name="drop")(x)
        init = nn.initializers.truncated_normal(0.01)
        return Dense(self.num_classes, kernel_init=init, name="fc")(x)
