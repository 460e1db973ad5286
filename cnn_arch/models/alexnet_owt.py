"""AlexNet in one tower, of "one weird trick".

A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.
https://arxiv.org/abs/1404.5997

The widths are from the author's cuda-convnet2 and from torchvision's ``alexnet``, whose
weights fit; the paper's footnote has 384 maps in conv4. Dropout comes before fc6 and
fc7, as in both programs. Weights and biases start as in cuda-convnet2's file
layers-imagenet-1gpu.cfg (torchvision uses PyTorch's defaults).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnn_arch.models.layers import Conv, Dense, Dropout, MaxPool, flatten, relu
from cnn_arch.ops.split import ALL, all_features, all_rows, num_parts, own_rows


class OneWeirdTrick(nn.Module):
    """Maps images [B, 224, 224, C] to logits [B, num_classes].

    Devices that share the network divide the batch in its convolutions and the features
    in its dense layers: scheme (a) of Section 4, in which each first gathers all rows.
    """

    split_layers = "fc6", "fc7", "fc8"

    num_classes: int = 1000
    dropout_rate: float = 0.5
    initial_bias: float = 1.0  # of the layers after conv1, but conv3 and fc8
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        init = nn.initializers.normal(0.01)
        wide: Any = {"kernel_init": nn.initializers.normal(0.03)}
        bias: Any = {"bias_init": nn.initializers.constant(self.initial_bias)}
        conv = partial(Conv, activation=relu, kernel_init=init, dtype=self.dtype)
        dense = partial(Dense, activation=relu, kernel_init=init, dtype=self.dtype)
        pool = partial(MaxPool, window=3, stride=2)
        drop = partial(Dropout, self.dropout_rate, deterministic=not train)
        parts = num_parts()

        x = own_rows(x)
        x = conv(64, 11, stride=4, padding=2, name="conv1")(x)  # [B, 55, 55, 64]
        x = pool(name="pool1")(x)  # [B, 27, 27, 64]
        x = pool(name="pool2")(
            conv(192, 5, name="conv2", **bias)(x)
        )  # [B, 13, 13, 192]
        x = conv(384, 3, name="conv3", **wide)(x)
        x = conv(256, 3, name="conv4", **wide, **bias)(x)
        x = conv(256, 3, name="conv5", **wide, **bias)(x)
        x = pool(name="pool5")(x)  # [B, 6, 6, 256]
        x = drop(rows=ALL, name="drop6")(flatten(x))
        x = dense(4096 // parts, name="fc6", **bias)(all_rows(x, "fc6"))
        x = all_features(drop(own_features=True, name="drop7")(x), "fc7")
        x = dense(4096 // parts, name="fc7", **bias)(x)
        low = nn.initializers.constant(-7.0)  # equal logits: no effect on the softmax
        fc8 = Dense(self.num_classes // parts, None, init, low, name="fc8")
        return all_features(fc8(all_features(x, "fc8")), "logits")
