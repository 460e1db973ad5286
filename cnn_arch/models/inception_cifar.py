"""A small network of inception modules for CIFAR-10, to compare the two kinds.

It is ours, not a paper's. Lectures claim that bottlenecks, 1x1 convolutions, save most
of a module's operations at little loss (CS231n 2017, lecture 9). Here a network can
have modules of either kind, and as many operations with both by its ``width``.

The modules are those of C. Szegedy et al., "Going Deeper with Convolutions", CVPR 2015,
Figure 2: (a) without and (b) with bottlenecks. Their numbers of maps are from Table 1,
those of the first four, times ``width``. In (a) the pool keeps all maps, so that each
module has more than the one before it. BatchNorm follows each convolution, as in the
networks of He et al. for CIFAR-10.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnn_arch.models.googlenet import INCEPTION, Inception, NaiveInception
from cnn_arch.models.layers import ConvBN, Dense, GlobalAvgPool, MaxPool, batch_norm
from cnn_arch.ops.split import Axes

BLOCKS = "3a", "3b", "4a", "4b"  # of Table 1


class CifarInception(nn.Module):
    """Maps images [B, 32, 32, C] to logits [B, num_classes]."""

    num_classes: int = 10
    module: str = "bottleneck"  # Figure 2(b) | naive: Figure 2(a)
    width: float = 0.5  # times GoogLeNet's numbers of maps
    batch_norm_axis: Axes | None = None  # mesh axes that share batch statistics
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        norm = batch_norm(train=train, axis=self.batch_norm_axis, dtype=self.dtype)
        conv = partial(ConvBN, norm=norm, dtype=self.dtype)
        pool = partial(MaxPool, window=3, stride=2, ceil_mode=True)

        # The shapes are those of bottlenecks with half of GoogLeNet's maps.
        x = conv(round(192 * self.width), 3, name="conv1")(x)  # [B, 32, 32, 96]
        x = pool(name="pool1")(x)  # [B, 16, 16, 96]
        for block in BLOCKS:
            if block == "4a":
                x = pool(name="pool3")(x)  # [B, 8, 8, 240]
            widths: Any = [round(self.width * maps) for maps in INCEPTION[block]]
            module = partial(Inception, widths)
            if self.module == "naive":
                n1x1, _, n3x3, _, n5x5, _ = widths
                module = partial(NaiveInception, (n1x1, n3x3, n5x5))
            x = module(conv, name=f"inception_{block}")(x)  # 128, 240; 256, 256 maps
        x = GlobalAvgPool(name="pool4")(x)  # [B, 256]
        return Dense(self.num_classes, name="fc")(x)
