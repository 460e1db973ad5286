"""The VGG networks.

K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", ICLR 2015. https://arxiv.org/abs/1409.1556

Deviations: the paper starts B to E from a trained A: ``--init_from`` does so. Without
it they start "without pre-training", which Section 3.1 calls possible, by Glorot and
Bengio 2010. A starts
from N(0, 0.01^2): with the variance that the paper prints, 10^-2, A's first logits
would exceed 10^6 for images of unit variance. The ``_bn`` networks are torchvision's:
BatchNorm after each convolution, which keeps its bias; the paper has no BatchNorm.
Dropout scales while training; the function is the same.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnn_arch.models.layers import (
    Conv,
    ConvBN,
    Dense,
    Dropout,
    LocalResponseNorm,
    MaxPool,
    batch_norm,
    flatten,
    relu,
)
from cnn_arch.ops.split import Axes, all_features, all_rows, num_parts, own_rows

# Table 1: the widths of the 3x3 convolutions of each stage.
STAGES = {
    "A": ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    "B": ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    "C": ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3),
    "D": ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3),
    "E": ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),
}

INITIALISATIONS = {
    "glorot": nn.initializers.glorot_uniform(),
    "normal": nn.initializers.normal(0.01),
}

# Section 3.1: "we initialised the first four convolutional layers and the last three
# fully-connected layers with the layers of net A (the intermediate layers were
# initialised randomly)". In every configuration, those of A have these places.
WARM_START = "conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8"


class VGG(nn.Module):
    """Maps images [B, 224, 224, C] to logits [B, num_classes].

    Devices that share the network divide the batch in its convolutions and the features
    in its dense layers, as in "one weird trick" (``alexnet_owt.py``).
    """

    split_layers = "fc6", "fc7", "fc8"

    stages: Sequence[Sequence[int]]
    third_kernel_size: int = 3  # of the third convolution of a stage: 1 in C
    local_response_norm: bool = False  # after conv1_1: A-LRN
    batch_norm: bool = False  # torchvision's _bn networks
    initialisation: str = "glorot"  # or normal: N(0, 0.01^2)
    num_classes: int = 1000
    dropout_rate: float = 0.5  # Section 3.1
    batch_norm_axis: Axes | None = None  # mesh axes that share batch statistics
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        init = INITIALISATIONS[self.initialisation]
        options: dict[str, Any] = {"kernel_init": init, "dtype": self.dtype}
        conv: Any = partial(Conv, activation=relu, **options)
        if self.batch_norm:
            axis = self.batch_norm_axis
            norm = batch_norm(train=train, axis=axis, dtype=self.dtype)
            conv = partial(ConvBN, use_bias=True, norm=norm, **options)
        parts = num_parts()
        dense = partial(Dense, 4096 // parts, relu, **options)
        drop = partial(
            Dropout, self.dropout_rate, deterministic=not train, own_features=True
        )

        x = own_rows(x)
        for stage, widths in enumerate(self.stages, start=1):
            for index, width in enumerate(widths, start=1):
                kernel_size = self.third_kernel_size if index == 3 else 3
                x = conv(width, kernel_size, name=f"conv{stage}_{index}")(x)
                if self.local_response_norm and stage == index == 1:
                    x = LocalResponseNorm(name="norm1_1")(x)
            x = MaxPool(2, 2, name=f"pool{stage}")(x)  # 112, 56, 28, 14, 7
        x = flatten(x)  # [B, 25088]
        x = drop(name="drop6")(dense(name="fc6")(all_rows(x, "fc6")))
        x = drop(name="drop7")(dense(name="fc7")(all_features(x, "fc7")))
        fc8 = Dense(self.num_classes // parts, kernel_init=init, name="fc8")
        return all_features(fc8(all_features(x, "fc8")), "logits")


def vgg(configuration: str, **fields: Any) -> VGG:
    """Makes a network of Table 1: A, A-LRN, B, C, D or E."""
    letter = configuration[0]
    if letter == "A":
        fields = {"initialisation": "normal", **fields}
    return VGG(
        STAGES[letter],
        third_kernel_size=1 if letter == "C" else 3,
        local_response_norm=configuration == "A-LRN",
        **fields,
    )
