"""The layers of the networks that their authors published for Caffe.

From BVLC/caffe, models/bvlc_alexnet/deploy.prototxt and
models/bvlc_googlenet/train_val.prototxt; the gists 211839e770f7b538e2d8 and
3785162f95cd2d5fee77 (VGG) and d802a5849de39225bcc6 (NiN); and
KaimingHe/deep-residual-networks, prototxt/. ``small`` is ours, and has every kind of
layer but BatchNorm.
"""

from collections.abc import Sequence
from functools import partial

import jax
from flax import linen as nn

from cnn_arch.models import layers
from cnn_arch.weights.caffe_networks import CaffeNetwork, Norm
from tests.weights.caffe_files import Net

NUM_CLASSES = 10


def alexnet(net: Net, num_classes: int) -> Net:
    net.conv("conv1", 96, 11, stride=4)
    net.lrn("norm1")
    net.pool("pool1", 3, 2)
    net.conv("conv2", 256, 5, pad=2, group=2)
    net.lrn("norm2")
    net.pool("pool2", 3, 2)
    net.conv("conv3", 384, 3, pad=1)
    net.conv("conv4", 384, 3, pad=1, group=2)
    net.conv("conv5", 256, 3, pad=1, group=2)
    net.pool("pool5", 3, 2)
    net.dense("fc6", 4096)
    net.dense("fc7", 4096)
    net.dense("fc8", num_classes, relu=False)
    return net


def vgg(net: Net, num_classes: int, counts: Sequence[int]) -> Net:
    for stage, (count, width) in enumerate(
        zip(counts, (64, 128, 256, 512, 512), strict=True), start=1
    ):
        for index in range(1, count + 1):
            net.conv(f"conv{stage}_{index}", width, 3, pad=1)
        net.pool(f"pool{stage}", 2, 2)
    net.dense("fc6", 4096)
    net.dense("fc7", 4096)
    net.dense("fc8", num_classes, relu=False)
    return net


def nin(net: Net, num_classes: int) -> Net:
    net.conv("conv1", 96, 11, stride=4)
    net.conv("cccp1", 96, 1, stride=1)
    net.conv("cccp2", 96, 1, stride=1)
    net.pool("pool0", 3, 2)
    net.conv("conv2", 256, 5, pad=2, stride=1)
    net.conv("cccp3", 256, 1, stride=1)
    net.conv("cccp4", 256, 1, stride=1)
    net.pool("pool2", 3, 2)
    net.conv("conv3", 384, 3, pad=1, stride=1)
    net.conv("cccp5", 384, 1, stride=1)
    net.conv("cccp6", 384, 1, stride=1)
    net.pool("pool3", 3, 2)
    net.conv("conv4-1024", 1024, 3, pad=1, stride=1)
    net.conv("cccp7-1024", 1024, 1, stride=1)
    net.conv("cccp8-1024", num_classes, 1, stride=1)
    net.pool("pool4", net.maps[net.top][1], 1, pool=1)  # 6 at 224 px
    return net


INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet(net: Net, num_classes: int, *, heads: bool = False) -> Net:
    """Makes deploy.prototxt; with heads, also the layers of both auxiliary heads."""
    net.conv("conv1/7x7_s2", 64, 7, stride=2, pad=3)
    net.pool("pool1/3x3_s2", 3, 2)
    net.lrn("pool1/norm1")
    net.conv("conv2/3x3_reduce", 64, 1)
    net.conv("conv2/3x3", 192, 3, pad=1)
    net.lrn("conv2/norm2")
    net.pool("pool2/3x3_s2", 3, 2)
    for block, widths in INCEPTIONS.items():
        if block in ("4a", "5a"):
            net.pool(f"pool{int(block[0]) - 1}/3x3_s2", 3, 2)
        inception(net, f"inception_{block}", widths)
        if heads and block in ("4a", "4d"):
            below, name = net.top, "loss1" if block == "4a" else "loss2"
            net.pool(f"{name}/ave_pool", 5, 3, pool=1)
            net.conv(f"{name}/conv", 128, 1)
            net.dense(f"{name}/fc", 1024)
            net.dense(f"{name}/classifier", num_classes, relu=False)
            net.top = below
    net.pool("pool5/7x7_s1", net.maps[net.top][1], 1, pool=1)
    net.dense("loss3/classifier", num_classes, relu=False)
    return net


def inception(net: Net, name: str, widths: Sequence[int]) -> None:
    below = net.top
    n1, n3_reduce, n3, n5_reduce, n5, proj = widths
    y1 = net.conv(f"{name}/1x1", n1, 1, bottom=below)
    net.conv(f"{name}/3x3_reduce", n3_reduce, 1, bottom=below)
    y3 = net.conv(f"{name}/3x3", n3, 3, pad=1)
    net.conv(f"{name}/5x5_reduce", n5_reduce, 1, bottom=below)
    y5 = net.conv(f"{name}/5x5", n5, 5, pad=2)
    net.pool(f"{name}/pool", 3, 1, pad=1, bottom=below)
    y = net.conv(f"{name}/pool_proj", proj, 1)
    net.join(f"{name}/output", "Concat", y1, y3, y5, y)


def resnet(
    net: Net, num_classes: int, counts: Sequence[int], *, bias: bool = False
) -> Net:
    """Makes ResNet; conv1 of the authors' ResNet-50 has a bias."""
    net.conv("conv1", 64, 7, stride=2, pad=3, bias=bias, relu=False)
    net.norm("_conv1", relu=True)
    net.pool("pool1", 3, 2)
    for stage, count in enumerate(counts, start=2):
        # Long stages of ResNet-101 and 152: a, b1, b2, ...
        numbered = ["a", *(f"b{i}" for i in range(1, count))]
        letters = numbered if max(counts) > 6 and stage in (3, 4) else "abcdef"[:count]
        for letter in letters:
            bottleneck(net, f"{stage}{letter}", 64 * 2 ** (stage - 2))
    net.pool("pool5", net.maps[net.top][1], 1, pool=1)
    net.dense("fc1000", num_classes, relu=False)
    return net


def bottleneck(net: Net, name: str, width: int) -> None:
    below = net.top
    is_first, stride = name.endswith("a"), 1
    if is_first:
        stride = 1 if name == "2a" else 2

    def conv(branch: str, features: int, size: int, stride: int, relu: bool) -> str:
        layer = f"{name}_branch{branch}"
        net.conv(
            f"res{layer}", features, size, stride=stride, pad=size // 2, bias=False,
            relu=False,
        )  # fmt: skip
        return net.norm(layer, relu=relu)

    shortcut = conv("1", 4 * width, 1, stride, relu=False) if is_first else below
    net.top = below
    conv("2a", width, 1, stride, relu=True)
    conv("2b", width, 3, 1, relu=True)
    y = conv("2c", 4 * width, 1, 1, relu=False)
    net.join(f"res{name}", "Eltwise", shortcut, y)


NETWORKS = {
    "alexnet": alexnet,
    "googlenet": googlenet,
    "vgg16": lambda net, k: vgg(net, k, (2, 2, 3, 3, 3)),
    "vgg19": lambda net, k: vgg(net, k, (2, 2, 4, 4, 4)),
    "resnet50": lambda net, k: resnet(net, k, (3, 4, 6, 3), bias=True),
    "resnet101": lambda net, k: resnet(net, k, (3, 4, 23, 3)),
    "resnet152": lambda net, k: resnet(net, k, (3, 8, 36, 3)),
    "nin": nin,
}


class Small(nn.Module):
    """Groups, response normalisation, a partial window, branches and a dense layer."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        conv = partial(layers.Conv, activation=layers.relu)
        x = conv(8, 3, 2, 0, name="conv1")(x)  # 32 px: 15
        x = layers.LocalResponseNorm(name="norm1")(x)
        x = layers.MaxPool(3, 2, ceil_mode=True, name="pool1")(x)  # 7
        x = conv(12, 3, groups=2, name="conv2")(x)
        x = layers.MaxPool(2, 2, ceil_mode=True, name="pool2")(x)  # 4, the last partial
        x = layers.LocalResponseNorm(name="norm2")(x)
        y = conv(6, 1, name="left")(x), conv(4, 3, name="right")(x)
        x = layers.concatenate(*y)
        x = conv(5, 3, padding=0, name="conv3")(x)  # 2
        x = layers.Dense(9, layers.relu, name="fc4")(x.reshape(len(x), -1))
        return layers.Dense(NUM_CLASSES, name="fc5")(x)


SMALL = CaffeNetwork(
    {
        name: (name,)
        for name in ("conv1", "conv2", "left", "right", "conv3", "fc4", "fc5")
    }.get,
    mean=(90.0, 100.0, 110.0),
    strides={"conv1": 2},
    paddings={"conv1": 0, "conv3": 0},
    behind_map={"fc4": "conv3"},
    norms={
        "norm1": Norm("conv1", ("conv1",), (("conv2",),)),
        "norm2": Norm("pool2", ("conv2",), (("left",), ("right",))),
    },
)


def small(**settings: float) -> Net:
    net = Net(32)
    net.conv("conv1", 8, 3, stride=2)
    net.lrn("norm1", **settings)
    net.pool("pool1", 3, 2)
    net.conv("conv2", 12, 3, pad=1, group=2)
    below = net.pool("pool2", 2, 2)
    below = net.lrn("norm2", **settings)
    left = net.conv("left", 6, 1, bottom=below)
    right = net.conv("right", 4, 3, pad=1, bottom=below)
    net.join("joined", "Concat", left, right)
    net.conv("conv3", 5, 3)
    net.dense("fc4", 9)
    net.dense("fc5", NUM_CLASSES, relu=False)
    return net
