"""AlexNet in one tower, of "one weird trick".

A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.
https://arxiv.org/abs/1404.5997

The widths are those of the author's cuda-convnet2 and of torchvision's ``alexnet``,
whose weights fit; the paper's footnote has 384 maps in conv4. Dropout comes before fc6
and fc7, as in both.

Deviations: initialised as AlexNet of 2012, with biases of zero (the paper gives none;
torchvision takes PyTorch's defaults).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnn_arch.models.layers import Conv, Dense, MaxPool, relu


class OneWeirdTrick(nn.Module):
    """Maps images [B, 224, 224, C] to logits [B, num_classes]."""

    num_classes: int = 1000
    dropout_rate: float = 0.5
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        init = nn.initializers.normal(0.01)
        options: dict[str, Any] = {"kernel_init": init, "dtype": self.dtype}
        conv = partial(Conv, activation=relu, **options)
        pool = partial(MaxPool, window=3, stride=2)
        drop = partial(nn.Dropout, self.dropout_rate, deterministic=not train)

        x = conv(64, 11, stride=4, padding=2, name="conv1")(x)  # [B, 55, 55, 64]
        x = pool(name="pool1")(x)  # [B, 27, 27, 64]
        x = pool(name="pool2")(conv(192, 5, name="conv2")(x))  # [B, 13, 13, 192]
        x = conv(384, 3, name="conv3")(x)
        x = conv(256, 3, name="conv4")(x)
        x = conv(256, 3, name="conv5")(x)
        x = pool(name="pool5")(x)  # [B, 6, 6, 256]
        x = drop(name="drop6")(x.reshape(x.shape[0], -1))
        x = Dense(4096, relu, name="fc6", **options)(x)
        x = Dense(4096, relu, name="fc7", **options)(drop(name="drop7")(x))
        return Dense(self.num_classes, kernel_init=init, name="fc8")(x)
