"""AlexNet.

A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet Classification with Deep Convolutional
Neural Networks", NIPS 2012.
https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks

Section 3.5 does not say whether response normalisation crosses the two GPUs. Here it
stays on each; ``norm_across_groups`` is Caffe's form.

Deviations: images have 227 px, with which conv1 makes the 55x55 maps of Figure 2 (the
figure's 224 would need padding, which the paper does not mention). Dropout scales the
units that it keeps while training, instead of halving all outputs at test time: the
function is the same.
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
from cnn_arch.ops.split import all_features, num_parts


class AlexNet(nn.Module):
    """Maps images [B, 227, 227, C] to logits [B, num_classes] (Figure 2).

    With two groups, conv2, conv4 and conv5 read only the maps "which reside on the same
    GPU" (Section 3.5). With one group, all layers read all maps: the table of CS231n.

    Devices may share the groups, as two did in 2012. Each computes its share of every
    layer's features; conv3 and the dense layers first gather all shares.
    """

    split_layers = tuple("conv1 conv2 conv3 conv4 conv5 fc6 fc7 fc8".split())

    num_classes: int = 1000
    groups: int = 2
    local_response_norm: bool = True  # Section 3.3: errors with and without it
    norm_across_groups: bool = False  # Caffe's: neighbouring maps of either group
    # Section 3.4: windows of 3 overlap, windows of 2 do not. Both give maps of the same
    # side if the map before has an odd one, as at 227 px: 55, 27, 13 and 6.
    pool_window: int = 3
    dropout_rate: float = 0.5  # Section 4.2
    initial_bias: float = 1.0  # of the layers that Section 5 names; Caffe's: 0.1
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        # Section 5: weights from N(0, 0.01^2); biases "with the constant 1" in conv2,
        # conv4, conv5 and the hidden dense layers.
        init = nn.initializers.normal(0.01)
        options: dict[str, Any] = {"kernel_init": init, "dtype": self.dtype}
        positive = nn.initializers.constant(self.initial_bias)
        parts = num_parts()  # the shapes below are for a single one
        groups = self.groups // parts
        conv = partial(Conv, activation=relu, **options)
        pool = partial(MaxPool, window=self.pool_window, stride=2)
        dense = partial(Dense, 4096 // parts, relu, bias_init=positive, **options)
        drop = partial(
            Dropout, self.dropout_rate, deterministic=not train, own_features=True
        )

        def norm(x: jax.Array, name: str) -> jax.Array:
            if not self.local_response_norm:
                return x
            apart = 1 if self.norm_across_groups else groups
            return LocalResponseNorm(apart, name=name)(x)

        x = conv(96 // parts, 11, 4, padding=0, name="conv1")(x)  # [B, 55, 55, 96]
        x = pool(name="pool1")(norm(x, "norm1"))  # [B, 27, 27, 96]
        x = conv(256 // parts, 5, groups=groups, bias_init=positive, name="conv2")(x)
        x = pool(name="pool2")(norm(x, "norm2"))  # [B, 13, 13, 256]
        x = conv(384 // parts, 3, name="conv3")(all_features(x, "conv3"))
        x = conv(384 // parts, 3, groups=groups, bias_init=positive, name="conv4")(x)
        x = conv(256 // parts, 3, groups=groups, bias_init=positive, name="conv5")(x)
        x = all_features(pool(name="pool5")(x), "fc6")  # [B, 6, 6, 256]
        x = drop(name="drop6")(dense(name="fc6")(flatten(x)))
        x = drop(name="drop7")(dense(name="fc7")(all_features(x, "fc7")))
        fc8 = Dense(self.num_classes // parts, kernel_init=init, name="fc8")
        return all_features(fc8(all_features(x, "fc8")), "logits")
