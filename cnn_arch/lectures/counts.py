"""Counts of networks and of their parts, as lectures quote them."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from cnn_arch import settings
from cnn_arch.costs.layers import LayerCost, layer_costs
from cnn_arch.costs.modules import Stack, module_costs
from cnn_arch.models import create_model, init_variables
from cnn_arch.models.layers import Conv, batch_norm
from cnn_arch.models.resnet import BasicBlock

Rows = Sequence[LayerCost]
Counts = tuple[float | str, ...]
CS231N_MEMORY = "input", "conv", "max_pool", "avg_pool", "global_avg_pool", "dense"
IMAGE_SIZES = {"lenet5": 32, "alexnet": 227, "inception_v3": 299, "inception_v4": 299}


@cache
def network(name: str, image_size: int = 0) -> Rows:
    """Returns the layers of a network of the catalogue.

    Args:
      name: a key of ``MODELS``.
      image_size: in px; 0: the paper's.
    """
    channels, classes = (1, 10) if name == "lenet5" else (3, 1000)
    size = image_size or IMAGE_SIZES.get(name, 224)
    return tuple(layer_costs(create_model(name, classes), size, channels))


def total(rows: Rows, field: str, *kinds: str) -> int:
    """Sums a field over the rows of some kinds, or of all; without auxiliary heads."""
    return sum(
        getattr(row, field)
        for row in rows
        if not row.auxiliary and (not kinds or row.kind in kinds)
    )


def number(rows: Rows, kind: str) -> int:
    """Counts the rows of a kind, without those of auxiliary heads."""
    return sum(row.kind == kind and not row.auxiliary for row in rows)


def kinds(name: str, *kinds: str) -> Counts:
    """Counts a network's rows of each kind."""
    return tuple(number(network(name), kind) for kind in kinds)


def find(rows: Rows, name: str) -> LayerCost:
    """Returns the row of that name."""
    return next(row for row in rows if row.name == name)


def up_to(rows: Rows, name: str) -> Rows:
    """Returns the rows before and with the one of that name."""
    return rows[: rows.index(find(rows, name)) + 1]


def without(rows: Rows, *names: str) -> Rows:
    """Returns all rows but those of the names, and what is computed in them."""
    return [row for row in rows if not row.name.startswith(names)]


def weights(rows: Rows) -> int:
    """Counts parameters without biases."""
    return total(rows, "params") - total(rows, "biases")


def width(name: str, layer: str) -> int:
    """Returns the number of maps, or of units, that a layer makes."""
    return find(network(name), layer).output_shape[-1]


def pixels_used(name: str, layer: str) -> int:
    """Returns the side of the square that a layer's outputs see together."""
    row = find(network(name), layer)
    return row.receptive_field + (row.output_shape[0] - 1) * row.receptive_stride


def params_of(rows: Rows, name: str) -> Counts:
    """Returns a layer's weights, biases, and both."""
    row = find(rows, name)
    return row.params - row.biases, row.biases, row.params


def params_gb(name: str, *layers: str) -> float:
    """Returns the bytes of layers' parameters in float32, in GB of 10^9."""
    return 4 * sum(find(network(name), layer).params for layer in layers) / 1e9


def maps_seen(name: str, **kernel_sizes: int) -> Counts:
    """Counts the inputs that an output of each square convolution sees at a pixel."""
    return tuple(
        row.macs // row.output_elements // size**2
        for layer, size in kernel_sizes.items()
        for row in [find(network(name), layer)]
    )


def largest(rows: Rows, field: str, *kinds: str) -> str:
    """Names the row that has most of something."""
    chosen = [row for row in rows if row.kind in kinds and not row.auxiliary]
    return max(chosen, key=lambda row: getattr(row, field)).name


def zero_block_is_identity() -> Counts:
    """Runs a residual block whose convolutions are zero on what a ReLU may hand it."""
    maker: Any = batch_norm(train=False, axis=None, dtype=jnp.float32)
    block = Stack([BasicBlock(8, 1, "A", Conv, maker)])
    x = jax.random.uniform(jax.random.key(0), (1, 4, 4, 8))
    variables = init_variables(block, jax.random.key(1), 4, 8)
    zero = jax.tree.map(jnp.zeros_like, variables["params"])
    y: Any = block.apply({**variables, "params": zero}, x, train=False)
    return yes(bool(jnp.array_equal(x, y)))


def eecs_alexnet() -> Rows:
    """64 filters in conv1, padding 2, at 227 px: maps of 56x56."""
    return network("alexnet_owt", 227)


def short_vgg16() -> Rows:
    """VGG-16 without the third convolution of its third stage."""
    return without(network("vgg16"), "conv3_3")


def conv_mib(rows: Rows) -> float:
    """Returns the bytes of all convolutions' outputs, in MiB."""
    return total(rows, "output_bytes", "conv") / 2**20


def shapes(name: str, *layers: str) -> Counts:
    """Writes the output shapes of layers."""
    rows = network(name)
    return tuple("x".join(map(str, find(rows, row).output_shape)) for row in layers)


def conv1(rows: Rows) -> Counts:
    """Returns numbers, bytes and KB of conv1's output."""
    row = find(rows, "conv1")
    return row.output_elements, row.output_bytes, row.output_bytes / 1024


def where(name: str) -> Counts:
    """Names the layers with most memory and parameters, the kind with most MACs."""
    rows = network(name)
    flops = {kind: total(rows, "macs", kind) for kind in ("conv", "dense")}
    return (
        largest(rows, "output_bytes", "conv", "dense"),
        largest(rows, "params", "conv", "dense"),
        max(flops, key=lambda kind: flops[kind]),
    )


def against_alexnet(rows: Rows, alexnet_macs: float = 0) -> Counts:
    """Returns MiB, 10^6 parameters, 10^9 MACs, each with its ratio to AlexNet's."""
    alexnet = eecs_alexnet()
    params, macs = total(rows, "params"), total(rows, "macs")
    return (
        conv_mib(rows),
        conv_mib(rows) / conv_mib(alexnet),
        params / 1e6,
        params / total(alexnet, "params"),
        macs / 1e9,
        macs / (alexnet_macs or total(alexnet, "macs")),
    )


def stem_of_googlenet() -> Counts:
    """Returns MiB, thousands of weights and millions of multiply-adds up to 28 px."""
    rows = up_to(network("googlenet"), "pool2")
    mib = total(rows, "output_bytes", "conv", "max_pool") / 2**20
    return mib, weights(rows) / 1e3, total(rows, "macs") / 1e6


def stem_of_vgg16(rows: Rows) -> Counts:
    """Returns MiB, millions of weights and of multiply-adds up to 28 px."""
    rows = up_to(rows, "pool3")
    return conv_mib(rows), weights(rows) / 1e6, total(rows, "macs") / 1e6


def bottleneck_twice() -> Counts:
    """Returns depth and millions of multiply-adds, those of the 3x3 added twice."""
    rows = module_costs("inception")
    twice = find(rows, "layers_0/3x3").macs
    return rows[-1].output_shape[-1], (total(rows, "macs") + twice) / 1e6


# The networks that the lecture draws in one picture.
DRAWN = (
    "alexnet",
    "nin",
    "googlenet",
    "vgg16",
    "vgg19",
    "inception_v3",
    "inception_v4",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
)


def most(field: str, *kinds: str, least: bool = False) -> Counts:
    """Names the network of ``DRAWN`` that has most, or least, of something."""
    choose = min if least else max
    return (choose(DRAWN, key=lambda name: total(network(name), field, *kinds)),)


def field(name: str, layer: str) -> Counts:
    """Returns the receptive field of a layer, or of a block's end, px."""
    inside = [row for row in network(name) if f"{row.name}/".startswith(f"{layer}/")]
    return (inside[-1].receptive_field,)


def fewer_params(name: str, than: str) -> float:
    """Returns how many times fewer parameters a network has than another."""
    return total(network(than), "params") / total(network(name), "params")


def mean_saves(name: str, pool: str, dense: str) -> float:
    """Returns how many times more weights a dense layer had without the mean."""
    rows = network(name)
    source = find(rows, find(rows, pool).inputs[0])
    on_map = math.prod(source.output_shape) * find(rows, dense).output_shape[0]
    return on_map / weights([find(rows, dense)])


def zfnet_widths(name: str) -> Counts:
    """Returns conv1's kernel size and stride, and the widths of conv3, 4 and 5."""
    row = find(network(name), "conv1")
    widths = (width(name, layer) for layer in ("conv3", "conv4", "conv5"))
    return row.receptive_field, row.receptive_stride, *widths


def depth_and_macs(rows: Rows) -> Counts:
    """Returns the number of maps in the end, and millions of multiply-adds."""
    return rows[-1].output_shape[-1], total(rows, "macs") / 1e6


def auxiliary_heads() -> Counts:
    """Counts GoogLeNet's auxiliary heads, and the layers of the rest that need them."""
    rows = network("googlenet")
    inside = {row.name for row in rows if row.auxiliary}
    heads = {name.split("/")[0] for name in inside}
    fed = [row for row in rows if not row.auxiliary and inside & set(row.inputs)]
    return len(heads), len(fed)


def resnet_weight_decay() -> Counts:
    """Reads the recipe of ResNet-34."""
    config, _ = settings.parse(["--config=resnet34"])
    return (config.optim.weight_decay,)


def yes(holds: bool) -> Counts:
    """Puts the answer to a question into words."""
    return ("yes" if holds else "no",)


def three_against_one() -> Counts:
    """Returns fields, weights in C^2, and ReLUs: of three 3x3, and of one 7x7."""
    stack, one = module_costs("three 3x3"), module_costs("one 7x7")
    return (
        stack[-1].receptive_field,
        one[-1].receptive_field,
        weights(stack) / 64**2,
        weights(one) / 64**2,
        number(stack, "activation"),
        number(one, "activation"),
    )
