"""Network in Network.

M. Lin, Q. Chen, S. Yan, "Network In Network", ICLR 2014.
https://arxiv.org/abs/1312.4400

The paper draws the network (Figure 2) and leaves its sizes to the authors' code: those
of their Caffe models for ImageNet and CIFAR-10. All units rectify, those that are
averaged into the logits as well (Equation 2). Weights start from N(0, 0.05^2), those of
the last layer from N(0, 0.01^2), as in the ImageNet model. Pooling lets partial windows
in, as Caffe does.

Deviations: dropout scales while training, which is the same function.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnn_arch.models.layers import (
    AvgPool,
    Conv,
    Dropout,
    GlobalAvgPool,
    Initializer,
    MaxPool,
    relu,
)


class MlpConv(nn.Module):
    """A convolution and two 1x1 convolutions, each with ReLU (Section 3.1)."""

    widths: tuple[int, int, int]
    kernel_size: int
    stride: int = 1
    padding: int | None = None
    last_init: Initializer = nn.initializers.normal(0.05)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        options: dict[str, Any] = {"activation": relu, "dtype": self.dtype}
        normal = nn.initializers.normal(0.05)
        first, second, third = self.widths
        x = Conv(
            first,
            self.kernel_size,
            self.stride,
            self.padding,
            kernel_init=normal,
            name="conv",
            **options,
        )(x)
        x = Conv(second, 1, kernel_init=normal, name="mlp1", **options)(x)
        return Conv(third, 1, kernel_init=self.last_init, name="mlp2", **options)(x)


class NiN(nn.Module):
    """Maps images [B, 224, 224, C] to logits [B, num_classes]: the ImageNet model."""

    num_classes: int = 1000
    dropout_rate: float = 0.5
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        dtype = self.dtype
        x = MlpConv((96, 96, 96), 11, 4, 0, dtype=dtype, name="mlpconv1")(x)
        x = MaxPool(3, 2, ceil_mode=True, name="pool1")(x)  # [B, 27, 27, 96]
        x = MlpConv((256, 256, 256), 5, dtype=dtype, name="mlpconv2")(x)
        x = MaxPool(3, 2, ceil_mode=True, name="pool2")(x)  # [B, 13, 13, 256]
        x = MlpConv((384, 384, 384), 3, dtype=dtype, name="mlpconv3")(x)
        x = MaxPool(3, 2, ceil_mode=True, name="pool3")(x)  # [B, 6, 6, 384]
        x = Dropout(self.dropout_rate, deterministic=not train, name="drop3")(x)
        widths = 1024, 1024, self.num_classes
        last = nn.initializers.normal(0.01)
        x = MlpConv(widths, 3, last_init=last, dtype=dtype, name="mlpconv4")(x)
        return GlobalAvgPool(name="pool4")(x.astype(jnp.float32))


class CifarNiN(nn.Module):
    """Maps images [B, 32, 32, C] to logits [B, num_classes]: the CIFAR-10 model."""

    num_classes: int = 10
    dropout_rate: float = 0.5
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        dtype = self.dtype
        x = MlpConv((192, 160, 96), 5, dtype=dtype, name="mlpconv1")(x)
        x = MaxPool(3, 2, ceil_mode=True, name="pool1")(x)  # [B, 16, 16, 96]
        x = Dropout(self.dropout_rate, deterministic=not train, name="drop1")(x)
        x = MlpConv((192, 192, 192), 5, dtype=dtype, name="mlpconv2")(x)
        x = AvgPool(3, 2, ceil_mode=True, count_padding=False, name="pool2")(
            x
        )  # [B, 8, 8, 192]
        x = Dropout(self.dropout_rate, deterministic=not train, name="drop2")(x)
        widths = 192, 192, self.num_classes
        x = MlpConv(widths, 3, dtype=dtype, name="mlpconv3")(x)
        return GlobalAvgPool(name="pool3")(x.astype(jnp.float32))
