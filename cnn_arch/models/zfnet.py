"""ZFNet.

M. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.
https://arxiv.org/abs/1311.2901

The padding follows from the sizes of the maps in Figure 3: 1 px in conv1 and the first
two pools, none in conv2. Contrast normalisation "across feature maps" is read as
AlexNet's, with its constants.

Deviations: "initialized to 10^-2" is read as AlexNet's N(0, 0.01^2), because equal
weights cannot learn. Dropout scales while training; the function is the same.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnn_arch.models.layers import (
    Conv,
    Dense,
    Dropout,
    LocalResponseNorm,
    MaxPool,
    flatten,
    relu,
)


class ZFNet(nn.Module):
    """Maps images [B, 224, 224, C] to logits [B, num_classes] (Figure 3)."""

    # conv3 to conv5: Figure 3. Table 2's model (b), and CS231n: 512, 1024, 512.
    widths: tuple[int, int, int] = (384, 384, 256)
    num_classes: int = 1000
    dropout_rate: float = 0.5  # Section 3.1
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        init = nn.initializers.normal(0.01)  # Section 3.1
        options: dict[str, Any] = {"kernel_init": init, "dtype": self.dtype}
        conv = partial(Conv, activation=relu, **options)
        pool = partial(MaxPool, window=3, stride=2)
        norm = LocalResponseNorm
        drop = partial(Dropout, self.dropout_rate, deterministic=not train)

        x = conv(96, 7, stride=2, padding=1, name="conv1")(x)  # [B, 110, 110, 96]
        x = norm(name="norm1")(pool(padding=1, name="pool1")(x))  # [B, 55, 55, 96]
        x = conv(256, 5, stride=2, padding=0, name="conv2")(x)  # [B, 26, 26, 256]
        x = norm(name="norm2")(pool(padding=1, name="pool2")(x))  # [B, 13, 13, 256]
        for layer, width in enumerate(self.widths, start=3):
            x = conv(width, 3, name=f"conv{layer}")(x)
        x = pool(name="pool5")(x)  # [B, 6, 6, 256]
        x = drop(name="drop6")(Dense(4096, relu, name="fc6", **options)(flatten(x)))
        x = drop(name="drop7")(Dense(4096, relu, name="fc7", **options)(x))
        return Dense(self.num_classes, kernel_init=init, name="fc8")(x)
