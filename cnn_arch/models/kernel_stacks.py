"""Stages of small kernels, or of one large kernel that sees as much of the image.

It is ours, not a paper's, for what K. Simonyan and A. Zisserman state in "Very Deep
Convolutional Networks for Large-Scale Image Recognition", ICLR 2015, Section 2.3: a
stack of three 3x3 convolutions from C to C maps sees what one 7x7 sees, has 27 C^2
weights in place of 49 C^2, and three ReLUs in place of one; two see what one 5x5 sees.
(Section 4.1: their configuration B had a lower error than with a 5x5 for each pair.)

Every stage has the same number of maps, so that each convolution after the first has C
maps in and out. BatchNorm follows each convolution, as in torchvision's ``_bn``
networks, and global average pooling replaces the dense layers.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnn_arch.models.layers import ConvBN, Dense, GlobalAvgPool, MaxPool, batch_norm
from cnn_arch.ops.split import Axes


class KernelStacks(nn.Module):
    """Maps images [B, 32, 32, C] to logits [B, num_classes]."""

    num_classes: int = 10
    kernel_sizes: tuple[int, ...] = (3, 3, 3)  # of each stage's convolutions; or 7
    width: float = 1.0  # times 32 maps; to compare at equal MACs
    batch_norm_axis: Axes | None = None  # mesh axes that share batch statistics
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        norm = batch_norm(train=train, axis=self.batch_norm_axis, dtype=self.dtype)
        conv = partial(ConvBN, round(32 * self.width), norm=norm, dtype=self.dtype)
        x = conv(3, name="conv1")(x)  # [B, 32, 32, 32]
        for stage in (2, 3, 4):
            for index, size in enumerate(self.kernel_sizes, start=1):
                x = conv(size, name=f"conv{stage}_{index}")(x)
            x = MaxPool(2, 2, name=f"pool{stage}")(x)  # 16, 8, 4
        x = GlobalAvgPool(name="pool")(x)  # [B, 32]
        return Dense(self.num_classes, name="fc")(x)
