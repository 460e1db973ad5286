"""Residual networks for ImageNet and CIFAR-10, and their plain counterparts.

K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition",
CVPR 2016. https://arxiv.org/abs/1512.03385

A stage's first convolution halves the map: in a bottleneck this is the first 1x1, as in
the paper. The later variant v1.5 halves the map in the 3x3, as torchvision does: its
``resnet50`` is ``resnet50_v1_5`` here.

Table 1 gives pool1 without its padding: here it is one pixel on each side, as in
torchvision. The authors' files for Caffe have none and keep the last, partial windows:
``ceil_mode``.

On CIFAR-10 the paper has no bottlenecks. ``block = "bottleneck"`` makes as many of
them, with the maps of ResNet-164, which has as many blocks as ResNet-110 (He et al.
2016, "Identity Mappings in Deep Residual Networks", and the authors'
resnet-pre-act.lua). The order of operations and the shortcuts stay those of the first
paper.

"These plain networks are trained with BN" (Section 4.1), and so are the residual ones.
``batch_norm=False`` leaves it out, to compare: convolutions then have biases.
``zero_last_scale`` is not the paper's but of Goyal et al. 2017, "Accurate, Large
Minibatch SGD: Training ImageNet in 1 Hour" (https://arxiv.org/abs/1706.02677), Section
5.1: the scale begins with 1 "except for each residual block's last BN", where it is 0,
so that a block begins as its shortcut.

Deviations: BatchNorm's statistics at test time are running averages (the authors
averaged them over a large batch after training).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnn_arch.errors import UsageError
from cnn_arch.models.layers import (
    Conv,
    ConvMaker,
    Dense,
    GlobalAvgPool,
    MaxPool,
    batch_norm,
    ones,
    relu,
    zeros,
)
from cnn_arch.ops.loops import Depth, run_stage
from cnn_arch.ops.split import Axes

# Table 1: the number of blocks in conv2_x to conv5_x.
STAGE_SIZES = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def shortcut(block: "BasicBlock | Bottleneck", x: jax.Array, width: int) -> jax.Array:
    """Brings a block's input [B, H, W, C] to [B, H/stride, W/stride, width].

    Section 4.1: option A subsamples and pads with zero channels; B projects (a 1x1
    convolution) where the shape changes; C projects in every block.
    """
    changes = block.stride != 1 or x.shape[-1] != width
    if block.option == "C" or (block.option == "B" and changes):
        x = block.conv(width, 1, stride=block.stride, padding=0, name="shortcut")(x)
        return block.norm(name="shortcut_bn")(x)
    if changes:
        x = x[:, :: block.stride, :: block.stride]
        x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, width - x.shape[-1])))
    return x


def no_norm(**_: Any) -> Callable[[jax.Array], jax.Array]:
    """Makes what takes the place of BatchNorm in a network without it."""
    return lambda x: x


def makers(
    model: "ResNet | CifarResNet", *, train: bool
) -> tuple[ConvMaker, Callable[..., Any]]:
    """Returns the constructors of a network's convolutions and of its BatchNorm.

    Raises:
      UsageError: ``zero_last_scale`` is of no use in this network.
    """
    if model.zero_last_scale and not (model.batch_norm and model.shortcut != "none"):
        raise UsageError(
            "--config.model.fields.zero_last_scale=true: needs batch_norm and "
            "shortcuts, without which no signal passes; leave it out"
        )
    conv = partial(Conv, use_bias=not model.batch_norm, dtype=model.dtype)
    if not model.batch_norm:
        return conv, no_norm
    axis = model.batch_norm_axis
    return conv, batch_norm(train=train, axis=axis, dtype=model.dtype)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions (Figure 5, left)."""

    width: int
    stride: int
    option: str  # A, B, C (Section 4.1), or "none": a plain net
    conv: ConvMaker
    norm: Callable[..., Any]
    zero_last_scale: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv3x3 = partial(self.conv, self.width, 3, padding=1)
        y = conv3x3(stride=self.stride, name="conv1")(x)
        y = relu(self.norm(name="bn1")(y))
        last = self.norm(name="bn2", scale_init=zeros if self.zero_last_scale else ones)
        y = last(conv3x3(name="conv2")(y))
        if self.option != "none":
            y += shortcut(self, x, self.width)
        return relu(y)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the last four times as wide (Figure 5, right)."""

    width: int
    stride: int
    option: str  # A, B, C (Section 4.1), or "none": a plain net
    conv: ConvMaker
    norm: Callable[..., Any]
    stride_in_3x3: bool = False  # v1.5
    zero_last_scale: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        first, second = (1, self.stride) if self.stride_in_3x3 else (self.stride, 1)
        y = self.conv(self.width, 1, stride=first, padding=0, name="conv1")(x)
        y = relu(self.norm(name="bn1")(y))
        y = self.conv(self.width, 3, stride=second, padding=1, name="conv2")(y)
        y = relu(self.norm(name="bn2")(y))
        last = self.norm(name="bn3", scale_init=zeros if self.zero_last_scale else ones)
        y = last(self.conv(4 * self.width, 1, name="conv3")(y))
        if self.option != "none":
            y += shortcut(self, x, 4 * self.width)
        return relu(y)


class ResNet(nn.Module):
    """Maps images [B, 224, 224, C] to logits [B, num_classes] (Table 1)."""

    stage_sizes: Sequence[int]
    block: Callable[..., nn.Module]
    num_classes: int = 1000
    shortcut: str = "B"  # Section 4.1: A, B or C; "none": a plain net
    ceil_mode: bool = False  # pool1 as in the authors' Caffe files
    scan: bool = False  # a stage's equal blocks as one loop
    remat: bool = False  # compute blocks again in the backward pass
    batch_norm: bool = True
    zero_last_scale: bool = False  # of each block's last BatchNorm, at the start
    batch_norm_axis: Axes | None = None  # mesh axes that share batch statistics
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        conv, norm = makers(self, train=train)
        x = conv(64, 7, stride=2, padding=3, name="conv1")(x)
        x = relu(norm(name="bn1")(x))  # [B, 112, 112, 64]
        ceil = self.ceil_mode
        x = MaxPool(3, 2, 0 if ceil else 1, ceil_mode=ceil, name="pool1")(x)
        for stage, size in enumerate(self.stage_sizes, start=2):  # 56, 28, 14, 7
            block = partial(
                self.block,
                width=64 * 2 ** (stage - 2),
                option=self.shortcut,
                conv=conv,
                norm=norm,
                zero_last_scale=self.zero_last_scale,
            )
            x = run_stage(block, stage, size, Depth(self.scan, self.remat), x)
        x = GlobalAvgPool(name="pool5")(x)  # [B, 512], or 2048 with bottlenecks
        return Dense(self.num_classes, name="fc")(x)


class CifarResNet(nn.Module):
    """Maps images [B, 32, 32, C] to logits [B, num_classes] (Section 4.2)."""

    depth: int  # 6n + 2 layers with weights; with bottlenecks it has 9n + 2
    num_classes: int = 10
    shortcut: str = "A"  # "we use identity shortcuts in all cases"; "none": plain net
    block: str = "basic"  # Figure 5: basic | bottleneck
    width: float = 1.0  # times the paper's numbers of maps; to compare at equal MACs
    scan: bool = False  # a stage's equal blocks as one loop
    remat: bool = False  # compute blocks again in the backward pass
    batch_norm: bool = True
    zero_last_scale: bool = False  # of each block's last BatchNorm, at the start
    batch_norm_axis: Axes | None = None  # mesh axes that share batch statistics
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        conv, norm = makers(self, train=train)
        blocks: Any = {"basic": BasicBlock, "bottleneck": Bottleneck}
        first, *_ = widths = [round(self.width * maps) for maps in (16, 32, 64)]
        x = conv(first, 3, name="conv1")(x)
        x = relu(norm(name="bn1")(x))  # [B, 32, 32, 16]
        size = (self.depth - 2) // 6
        for stage, width in enumerate(widths, start=2):  # 32, 16, 8
            block = partial(
                blocks[self.block],
                width=width,
                option=self.shortcut,
                conv=conv,
                norm=norm,
                zero_last_scale=self.zero_last_scale,
            )
            x = run_stage(block, stage, size, Depth(self.scan, self.remat), x)
        x = GlobalAvgPool(name="pool")(x)  # [B, 64], or 256 with bottlenecks
        return Dense(self.num_classes, name="fc")(x)


def resnet(depth: int, **fields: Any) -> ResNet:
    """Makes the network of Table 1 with 18, 34, 50, 101 or 152 layers."""
    block = BasicBlock if depth < 50 else Bottleneck
    return ResNet(STAGE_SIZES[depth], block, **fields)


def resnet_v1_5(depth: int, **fields: Any) -> ResNet:
    """Makes the network with 50, 101 or 152 layers that halves maps in the 3x3.

    S. Gross, M. Wilber, "Training and investigating Residual Nets", 2016.
    http://torch.ch/blog/2016/02/04/resnets.html
    """
    block = partial(Bottleneck, stride_in_3x3=True)
    return ResNet(STAGE_SIZES[depth], block, **fields)
