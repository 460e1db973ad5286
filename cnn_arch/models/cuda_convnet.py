"""The four-layer network of AlexNet's experiments on CIFAR-10.

A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet Classification with Deep Convolutional
Neural Networks", NIPS 2012, Sections 3.1 (ReLU or tanh) and 3.3 (normalised or not).
https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks

The paper's footnote leaves the details to the files of cuda-convnet:
layers-conv-local-11pct.cfg and, without normalisation and with 32 maps in local3,
layers-conv-local-13pct.cfg. Names are from there. Pooling keeps partial windows.

No file of cuda-convnet has this network with another activation or with pools that do
not overlap. Weights and biases start the same with each activation.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnn_arch.models.layers import Conv, Dense, LocalResponseNorm, MaxPool, relu
from cnn_arch.ops.conv import multiply_each_position
from cnn_arch.ops.platform import views


class LocallyConnected(nn.Module):
    """A 3x3 convolution [B, H, W, C] -> [B, H, W, features] without shared weights."""

    features: int
    activation: Callable[[jax.Array], jax.Array]
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        place, dtype = x.shape[1:3], self.dtype
        init, shape = nn.initializers.normal(0.04), (*place, 9 * x.shape[3])
        kernel = self.param("kernel", init, (*shape, self.features)).astype(dtype)
        bias = self.param("bias", nn.initializers.zeros, (*place, self.features))
        x = jnp.pad(x.astype(dtype), ((0, 0), (1, 1), (1, 1), (0, 0)))
        x = jnp.concatenate(views(x, (3, 3), 1), axis=-1)  # [B, H, W, 9 C]
        x = multiply_each_position(x, kernel)  # [B, H, W, features]
        return self.activation(x + bias.astype(dtype))


class CudaConvNet(nn.Module):
    """Maps images [B, 24, 24, C] to logits [B, num_classes]."""

    num_classes: int = 10
    local_response_norm: bool = True  # false: the network of 13 %
    local3_width: int = 64  # maps; 32 in the network of 13 %
    activation: str = "relu"  # relu | tanh | sigmoid: "f(x) = (1 + e^-x)^-1"
    pool_window: int = 3  # 2: pools do not overlap (AlexNet, Section 3.4)
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        actives = {"relu": relu, "tanh": jnp.tanh, "sigmoid": nn.sigmoid}
        active = actives[self.activation]
        normal = nn.initializers.normal
        conv = partial(Conv, 64, 5, activation=active, dtype=self.dtype)
        local = partial(LocallyConnected, activation=active, dtype=self.dtype)
        # Either window gives maps of half the side.
        pool = partial(MaxPool, self.pool_window, 2, ceil_mode=True)

        def norm(x: jax.Array, name: str) -> jax.Array:
            if not self.local_response_norm:
                return x
            alpha = 0.001 / 9  # cuda-convnet divides by the number of maps
            return LocalResponseNorm(num_maps=9, k=1.0, alpha=alpha, name=name)(x)

        x = conv(kernel_init=normal(1e-4), name="conv1")(x)  # [B, 24, 24, 64]
        x = norm(pool(name="pool1")(x), "rnorm1")  # [B, 12, 12, 64]
        x = conv(kernel_init=normal(0.01), name="conv2")(x)
        x = pool(name="pool2")(norm(x, "rnorm2"))  # [B, 6, 6, 64]
        x = local(self.local3_width, name="local3")(x)
        x = local(32, name="local4")(x).reshape(x.shape[0], -1)  # [B, 1152]
        return Dense(self.num_classes, kernel_init=normal(0.01), name="fc10")(x)
