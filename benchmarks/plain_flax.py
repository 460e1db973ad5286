"""The networks of train_step.py, written plainly with Flax's layers.

They use ``nn.Conv``, ``nn.BatchNorm`` and ``nn.max_pool`` as Flax's imagenet example
does, with no change for any device. Each network maps images [B, H, W, 3] to a list of
logits [B, num_classes]; in training, the logits of auxiliary heads follow.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

BORDER: Any = ((1, 1), (1, 1))
CEIL: Any = ((0, 1), (0, 1))  # of 3x3 windows at stride 2: 112 -> 56 -> 28 -> 14


def square_conv(features: int, size: int, **fields: Any) -> nn.Conv:
    """Makes a convolution with a square kernel and the same padding on all sides."""
    fields.setdefault("padding", size // 2)
    return nn.Conv(features, (size, size), **fields)


def make_norm(train: bool, dtype: Any, epsilon: float = 1e-5):
    """Returns a constructor of BatchNorm."""
    fields = {"momentum": 0.9, "epsilon": epsilon, "dtype": dtype}
    return partial(nn.BatchNorm, use_running_average=not train, **fields)


def classify(x: jax.Array, num_classes: int, dtype: Any) -> jax.Array:
    """Adds the last layer of the network that calls it; returns logits."""
    return nn.Dense(num_classes, dtype=dtype)(x).astype(jnp.float32)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, with a projection or a padded shortcut."""

    width: int
    stride: int
    conv: Any
    norm: Any
    projects: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, H, W, C] to [B, H / stride, W / stride, width]."""
        y = self.conv(self.width, 3, strides=self.stride)(x)
        y = nn.relu(self.norm()(y))
        y = self.norm()(self.conv(self.width, 3)(y))
        if x.shape != y.shape and self.projects:
            x = self.norm()(self.conv(self.width, 1, strides=self.stride)(x))
        elif x.shape != y.shape:
            new_channels = self.width - x.shape[-1]
            x = x[:, :: self.stride, :: self.stride]
            x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, new_channels)))
        return nn.relu(x + y)


class Bottleneck(nn.Module):
    """Convolutions 1x1, 3x3 with the stride, 1x1 of four times the width."""

    width: int
    stride: int
    conv: Any
    norm: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, H, W, C] to [B, H / stride, W / stride, 4 width]."""
        y = nn.relu(self.norm()(self.conv(self.width, 1)(x)))
        y = nn.relu(self.norm()(self.conv(self.width, 3, strides=self.stride)(y)))
        y = self.norm()(self.conv(4 * self.width, 1)(y))
        if x.shape != y.shape:
            x = self.norm()(self.conv(4 * self.width, 1, strides=self.stride)(x))
        return nn.relu(x + y)


class ResNet(nn.Module):
    """A residual network for images of 32 px (option A) or of 224 px (option B)."""

    stage_sizes: Sequence[int]
    block: Any
    num_classes: int
    dtype: Any
    is_small: bool = False  # for images of 32 px

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> list[jax.Array]:
        conv = partial(square_conv, use_bias=False, dtype=self.dtype)
        norm = make_norm(train, self.dtype)
        width = 16 if self.is_small else 64
        if self.is_small:
            x = nn.relu(norm()(conv(width, 3)(x)))
        else:
            x = nn.relu(norm()(conv(width, 7, strides=2)(x)))
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=BORDER)
        for stage, size in enumerate(self.stage_sizes):
            for index in range(size):
                stride = 2 if stage and not index else 1
                x = self.block(width * 2**stage, stride, conv, norm)(x)
        x = jnp.mean(x, axis=(1, 2))
        return [classify(x, self.num_classes, self.dtype)]


class Feedforward(nn.Module):
    """Convolutions, pooling and three dense layers, in the order of a list.

    A layer is (features, kernel, stride, padding, groups) of a convolution, (window,
    stride) of a max pooling, or "norm".
    """

    layers: Sequence[Any]
    num_classes: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> list[jax.Array]:
        conv = partial(square_conv, dtype=self.dtype)
        for layer in self.layers:
            if layer == "norm":
                x = local_response_norm(x)
            elif len(layer) == 2:
                window, stride = layer
                x = nn.max_pool(x, (window, window), strides=(stride, stride))
            else:
                features, size, stride, padding, groups = layer
                fields = {"padding": padding, "feature_group_count": groups}
                x = nn.relu(conv(features, size, strides=stride, **fields)(x))
        x = x.reshape(x.shape[0], -1)
        for _ in range(2):
            x = nn.relu(nn.Dense(4096, dtype=self.dtype)(x))
            x = nn.Dropout(0.5, deterministic=not train)(x)
        return [classify(x, self.num_classes, self.dtype)]


def local_response_norm(x: jax.Array) -> jax.Array:
    """Normalises over five neighbouring maps (Krizhevsky et al. 2012)."""
    squares = jnp.pad(jnp.square(x), ((0, 0), (0, 0), (0, 0), (2, 2)))
    total = sum(squares[..., i : i + x.shape[-1]] for i in range(5))
    return x * (2.0 + 1e-4 * total) ** -0.75


# #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj (Szegedy et al. 2014, Table 1).
INCEPTION = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)


class AuxiliaryHead(nn.Module):
    """GoogLeNet's second or third output in training."""

    num_classes: int
    norm: Any
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, 14, 14, C] to logits."""
        x = nn.avg_pool(x, (5, 5), strides=(3, 3))  # [B, 4, 4, C]
        x = square_conv(128, 1, use_bias=False, dtype=self.dtype)(x)
        x = nn.relu(self.norm()(x))
        x = nn.Dense(1024, dtype=self.dtype)(x.reshape(x.shape[0], -1))
        x = nn.Dropout(0.7, deterministic=False)(nn.relu(x))
        return classify(x, self.num_classes, self.dtype)


class GoogLeNetBN(nn.Module):
    """torchvision's googlenet: BatchNorm, and 3x3 in place of 5x5."""

    num_classes: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> list[jax.Array]:
        norm = make_norm(train, self.dtype, epsilon=1e-3)
        bare_conv = partial(square_conv, use_bias=False, dtype=self.dtype)

        def conv(x: jax.Array, features: int, size: int, strides: int = 1):
            return nn.relu(norm()(bare_conv(features, size, strides=strides)(x)))

        pool = partial(nn.max_pool, strides=(2, 2))
        x = pool(conv(x, 64, 7, strides=2), (3, 3), padding=CEIL)
        x = pool(conv(conv(x, 64, 1), 192, 3), (3, 3), padding=CEIL)
        auxiliary = []
        for stage, blocks in enumerate(INCEPTION):
            if stage:
                x = pool(x, (3, 3), padding=CEIL) if stage == 1 else pool(x, (2, 2))
            for index, (n1, n3_reduce, n3, n5_reduce, n5, n_pool) in enumerate(blocks):
                branches = [
                    conv(x, n1, 1),
                    conv(conv(x, n3_reduce, 1), n3, 3),
                    conv(conv(x, n5_reduce, 1), n5, 3),
                    conv(nn.max_pool(x, (3, 3), padding="SAME"), n_pool, 1),
                ]
                x = jnp.concatenate(branches, axis=-1)
                if train and stage == 1 and index in (0, 3):
                    head = AuxiliaryHead(self.num_classes, norm, self.dtype)
                    auxiliary.append(head(x))
        x = nn.Dropout(0.2, deterministic=not train)(jnp.mean(x, axis=(1, 2)))
        return [classify(x, self.num_classes, self.dtype), *auxiliary]


# fmt: off
ALEXNET = (
    (96, 11, 4, 0, 1), "norm", (3, 2),
    (256, 5, 1, 2, 2), "norm", (3, 2),
    (384, 3, 1, 1, 1), (384, 3, 1, 1, 2), (256, 3, 1, 1, 2), (3, 2),
)
ALEXNET_OWT = (
    (64, 11, 4, 2, 1), (3, 2),
    (192, 5, 1, 2, 1), (3, 2),
    (384, 3, 1, 1, 1), (256, 3, 1, 1, 1), (256, 3, 1, 1, 1), (3, 2),
)
# fmt: on
VGG16 = tuple(
    layer
    for width, times in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    for layer in (*((width, 3, 1, 1, 1),) * times, (2, 2))
)


def make_network(name: str, num_classes: int, dtype: Any) -> nn.Module:
    """Makes a network of train_step.py's list."""
    layers = {"alexnet": ALEXNET, "alexnet_owt": ALEXNET_OWT, "vgg16": VGG16}
    if name in layers:
        return Feedforward(layers[name], num_classes, dtype)
    if name == "googlenet_bn":
        return GoogLeNetBN(num_classes, dtype)
    if name == "resnet18":
        return ResNet((2, 2, 2, 2), BasicBlock, num_classes, dtype)
    if name == "resnet50":
        return ResNet((3, 4, 6, 3), Bottleneck, num_classes, dtype)
    size = (int(name.removeprefix("resnet")) - 2) // 6
    block = partial(BasicBlock, projects=False)
    return ResNet((size,) * 3, block, num_classes, dtype, is_small=True)
