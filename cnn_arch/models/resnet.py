"""Residual networks for ImageNet and CIFAR-10, and the plain nets beside them.

K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition",
CVPR 2016. https://arxiv.org/abs/1512.03385

A stage's first convolution halves the map: in a bottleneck that is the first 1x1, as in
the paper, not the 3x3 (that later variant goes by the name v1.5).

Deviations: BatchNorm's statistics at test time are running averages (the authors
averaged them over a large batch after training).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

# Section 3.4: initialised as in He et al. 2015, "Delving Deep into Rectifiers": a
# normal distribution of variance 2 / fan-in, not truncated.
he_normal = nn.initializers.variance_scaling(2.0, "fan_in", "normal")

# Table 1: the number of blocks in conv2_x to conv5_x.
STAGE_SIZES = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def shortcut(
    option: str,
    x: jax.Array,
    width: int,
    stride: int,
    conv: Callable[..., nn.Module],
    norm: Callable[..., nn.Module],
) -> jax.Array:
    """Brings a block's input [B, H, W, C] to [B, H/stride, W/stride, width].

    Args:
      option: Section 4.1: ``A`` subsamples and pads with zero channels; ``B`` projects
        (a 1x1 convolution) where the shape changes; ``C`` projects in every block.
      x: the input of the block.
      width: channels at the end of the block.
      stride: of the block.
      conv: makes a convolution.
      norm: makes a BatchNorm.
    """
    changes = stride != 1 or x.shape[-1] != width
    if option == "C" or (option == "B" and changes):
        x = conv(width, (1, 1), strides=stride, name="shortcut")(x)
        return norm(name="shortcut_bn")(x)
    if changes:
        x = x[:, ::stride, ::stride]
        x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, width - x.shape[-1])))
    return x


class BasicBlock(nn.Module):
    """Two 3x3 convolutions (Figure 5, left)."""

    width: int
    stride: int
    option: str  # A, B, C (Section 4.1), or "none": a plain net
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv3x3 = partial(self.conv, self.width, (3, 3), padding=1)
        y = conv3x3(strides=self.stride, name="conv1")(x)
        y = nn.relu(self.norm(name="bn1")(y))
        y = self.norm(name="bn2")(conv3x3(name="conv2")(y))
        if self.option != "none":
            y += shortcut(self.option, x, self.width, self.stride, self.conv, self.norm)
        return nn.relu(y)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the last four times as wide (Figure 5, right)."""

    width: int
    stride: int
    option: str  # A, B, C (Section 4.1), or "none": a plain net
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.conv(self.width, (1, 1), strides=self.stride, name="conv1")(x)
        y = nn.relu(self.norm(name="bn1")(y))
        y = self.conv(self.width, (3, 3), padding=1, name="conv2")(y)
        y = nn.relu(self.norm(name="bn2")(y))
        y = self.norm(name="bn3")(self.conv(4 * self.width, (1, 1), name="conv3")(y))
        if self.option != "none":
            y += shortcut(
                self.option, x, 4 * self.width, self.stride, self.conv, self.norm
            )
        return nn.relu(y)


def layers(dtype: Any, batch_norm_axis: str | None, train: bool):
    """Returns what makes a convolution (no bias: BatchNorm has one) and a BatchNorm."""
    conv = partial(nn.Conv, use_bias=False, kernel_init=he_normal, dtype=dtype)
    norm = partial(
        nn.BatchNorm,
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        axis_name=batch_norm_axis,
        dtype=dtype,
    )
    return conv, norm


class ResNet(nn.Module):
    """Maps images [B, 224, 224, C] to logits [B, num_classes] (Table 1)."""

    stage_sizes: Sequence[int]
    block: Callable[..., nn.Module]
    num_classes: int = 1000
    shortcut: str = "B"  # Section 4.1: A, B or C; "none" makes the plain net
    batch_norm_axis: str | None = None  # mesh axis that shares batch statistics
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        conv, norm = layers(self.dtype, self.batch_norm_axis, train)
        x = conv(64, (7, 7), strides=2, padding=3, name="conv1")(x)
        x = nn.relu(norm(name="bn1")(x))  # [B, 112, 112, 64]
        border: Any = ((1, 1), (1, 1))
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=border)
        for stage, size in enumerate(self.stage_sizes, start=2):  # 56, 28, 14, 7
            for index in range(1, size + 1):
                x = self.block(
                    width=64 * 2 ** (stage - 2),
                    stride=2 if stage > 2 and index == 1 else 1,
                    option=self.shortcut,
                    conv=conv,
                    norm=norm,
                    name=f"conv{stage}_{index}",
                )(x)
        x = x.mean(axis=(1, 2))  # [B, 512], or 2048 with bottlenecks
        dense = nn.Dense(self.num_classes, kernel_init=he_normal, name="fc")
        return dense(x.astype(jnp.float32))


class CifarResNet(nn.Module):
    """Maps images [B, 32, 32, C] to logits [B, num_classes] (Section 4.2)."""

    depth: int  # 6n + 2 layers with weights
    num_classes: int = 10
    shortcut: str = "A"  # "we use identity shortcuts in all cases"; "none": plain
    batch_norm_axis: str | None = None  # mesh axis that shares batch statistics
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        conv, norm = layers(self.dtype, self.batch_norm_axis, train)
        x = conv(16, (3, 3), padding=1, name="conv1")(x)
        x = nn.relu(norm(name="bn1")(x))  # [B, 32, 32, 16]
        for stage, width in enumerate((16, 32, 64), start=2):  # 32, 16, 8
            for index in range(1, (self.depth - 2) // 6 + 1):
                x = BasicBlock(
                    width=width,
                    stride=2 if stage > 2 and index == 1 else 1,
                    option=self.shortcut,
                    conv=conv,
                    norm=norm,
                    name=f"conv{stage}_{index}",
                )(x)
        x = x.mean(axis=(1, 2))  # [B, 64]
        dense = nn.Dense(self.num_classes, kernel_init=he_normal, name="fc")
        return dense(x.astype(jnp.float32))


def resnet(depth: int, **fields: Any) -> ResNet:
    """Makes the network of Table 1 with 18, 34, 50, 101 or 152 layers."""
    block = BasicBlock if depth < 50 else Bottleneck
    return ResNet(stage_sizes=STAGE_SIZES[depth], block=block, **fields)
