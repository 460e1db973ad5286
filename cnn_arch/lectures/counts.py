"""Counts of networks and their parts, in the units of the lectures."""

import math
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnn_arch.costs.layers import LayerCost, layer_costs
from cnn_arch.costs.modules import Stack, module_costs
from cnn_arch.models import create_model, init_variables
from cnn_arch.models.layers import Conv, batch_norm
from cnn_arch.models.resnet import BasicBlock

Rows = Sequence[LayerCost]
Counts = tuple[float | str, ...]
# The kinds of layers whose outputs CS231n adds up as memory.
CS231N_MEMORY = "input", "conv", "max_pool", "avg_pool", "global_avg_pool", "dense"
IMAGE_SIZES = {"lenet5": 32, "alexnet": 227, "inception_v3": 299, "inception_v4": 299}


@cache
def network(name: str, image_size: int = 0) -> Rows:
    """Returns the layers of a network; ``image_size`` in px, 0 for the paper's."""
    channels, classes = (1, 10) if name == "lenet5" else (3, 1000)
    size = image_size or IMAGE_SIZES.get(name, 224)
    # No claim is about Inception-v3's auxiliary head: it would need a second trace.
    fields = {"aux_heads": False} if name == "inception_v3" else {}
    return tuple(layer_costs(create_model(name, classes, **fields), size, channels))


def total(rows: Rows, field: str, *kinds: str) -> int:
    """Sums a field over the rows of some kinds, or of all, without auxiliary heads."""
    return sum(
        getattr(row, field)
        for row in rows
        if not row.auxiliary and (not kinds or row.kind in kinds)
    )


def number(rows: Rows, kind: str) -> int:
    """Counts the rows of a kind, without auxiliary heads."""
    return sum(row.kind == kind and not row.auxiliary for row in rows)


def kinds(name: str, *kinds: str) -> Counts:
    """Counts a network's rows of each kind."""
    return tuple(number(network(name), kind) for kind in kinds)


def find(rows: Rows, name: str) -> LayerCost:
    """Returns the row of that name."""
    return next(row for row in rows if row.name == name)


def weights(rows: Rows) -> int:
    """Counts parameters without biases."""
    return total(rows, "params") - total(rows, "biases")


def width(name: str, layer: str) -> int:
    """Returns the number of a layer's output maps or units."""
    return find(network(name), layer).output_shape[-1]


def pixels_used(name: str, layer: str) -> int:
    """Returns the side of the image area that all of a layer's outputs use, px."""
    row = find(network(name), layer)
    return row.receptive_field + (row.output_shape[0] - 1) * row.receptive_stride


def conv1_params() -> Counts:
    """Returns the weights, biases, and their sum, of conv1 in ``eecs_alexnet``."""
    row = find(eecs_alexnet(), "conv1")
    return row.params - row.biases, row.biases, row.params


def input_maps(**kernel_sizes: int) -> Counts:
    """Counts the input maps of each output map of AlexNet's layers."""
    rows = {layer: find(network("alexnet"), layer) for layer in kernel_sizes}
    return tuple(
        rows[layer].macs // rows[layer].output_elements // size**2
        for layer, size in kernel_sizes.items()
    )


def zero_block_is_identity() -> Counts:
    """Returns whether a residual block with weights of 0 keeps non-negative inputs."""
    maker: Any = batch_norm(train=False, axis=None, dtype=jnp.float32)
    block = Stack([BasicBlock(8, 1, "A", Conv, maker)])
    variables = jax.eval_shape(
        lambda key: init_variables(block, key, image_size=4, channels=8),
        jax.random.key(0),
    )
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape), variables["params"])
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape), variables["batch_stats"])
    x = np.arange(4 * 4 * 8, dtype=np.float32).reshape(1, 4, 4, 8)
    apply = jax.jit(partial(block.apply, train=False))  # compiled once, as a whole
    y = apply({"params": zeros, "batch_stats": ones}, x)
    return yes(np.array_equal(x, y))


def eecs_alexnet() -> Rows:
    """Returns AlexNet with 64 filters in conv1, padding 2, at 227 px: maps of 56x56."""
    return network("alexnet_owt", 227)


def short_vgg16() -> Rows:
    """Returns VGG-16 without the third convolution of its third stage."""
    return [row for row in network("vgg16") if not row.name.startswith("conv3_3")]


def conv_mib(rows: Rows) -> float:
    """Returns the size of all convolutions' outputs, in MiB."""
    return total(rows, "output_bytes", "conv") / 2**20


def shapes(name: str, *layers: str) -> Counts:
    """Writes the output shapes of layers."""
    rows = network(name)
    return tuple("x".join(map(str, find(rows, row).output_shape)) for row in layers)


def conv1_output() -> Counts:
    """Returns the elements, bytes and KiB of conv1's output in ``eecs_alexnet``."""
    row = find(eecs_alexnet(), "conv1")
    return row.output_elements, row.output_bytes, row.output_bytes / 1024


def where(name: str) -> Counts:
    """Names the layers with most memory and parameters, and the kind with most MACs."""
    rows = [row for row in network(name) if row.kind in ("conv", "dense")]
    return (
        max(rows, key=lambda row: row.output_bytes).name,
        max(rows, key=lambda row: row.params).name,
        max(("conv", "dense"), key=lambda kind: total(rows, "macs", kind)),
    )


def against_alexnet(rows: Rows, alexnet_macs: float = 0) -> Counts:
    """Returns MiB, 10^6 parameters and 10^9 MACs, each with its ratio to AlexNet's."""
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


def stem(rows: Rows, last: str, unit: float, *kinds: str) -> Counts:
    """Returns MiB of outputs, weights / unit, and 10^6 MACs, up to layer ``last``."""
    rows = rows[: rows.index(find(rows, last)) + 1]
    mib = total(rows, "output_bytes", *kinds) / 2**20
    return mib, weights(rows) / unit, total(rows, "macs") / 1e6


# The networks that CS231n compares in one picture.
DRAWN = "alexnet", "nin", "googlenet", "vgg16", "vgg19", "inception_v3", "inception_v4"
DRAWN += "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"


def most(field: str, *kinds: str) -> Counts:
    """Names the network of ``DRAWN`` with the largest sum of a field."""
    return (max(DRAWN, key=lambda name: total(network(name), field, *kinds)),)


def fewest(field: str) -> Counts:
    """Names the network of ``DRAWN`` with the smallest sum of a field."""
    return (min(DRAWN, key=lambda name: total(network(name), field)),)


def field(name: str, layer: str) -> Counts:
    """Returns the receptive field of a layer, or of a block's last layer, px."""
    inside = [row for row in network(name) if f"{row.name}/".startswith(f"{layer}/")]
    return (inside[-1].receptive_field,)


def ratio(field: str, name: str, to: str) -> float:
    """Returns the ratio of a network's sum of a field to another network's."""
    return total(network(name), field) / total(network(to), field)


def fewer_params(name: str, than: str) -> float:
    """Returns the ratio of the second network's parameters to the first's."""
    return ratio("params", than, name)


def mean_saves() -> float:
    """Returns how many times more weights GoogLeNet's fc would have without pool5."""
    rows = network("googlenet")
    source, fc = find(rows, find(rows, "pool5").inputs[0]), find(rows, "fc")
    return math.prod(source.output_shape) * fc.output_shape[0] / weights([fc])


def zfnet_widths(name: str) -> Counts:
    """Returns conv1's kernel size and stride, and the widths of conv3, 4 and 5."""
    row = find(network(name), "conv1")
    widths = (width(name, layer) for layer in ("conv3", "conv4", "conv5"))
    return row.receptive_field, row.receptive_stride, *widths


def depth_and_macs(part: str, twice: str = "") -> Counts:
    """Returns the number of output maps, and 10^6 MACs; one layer may count twice."""
    rows = module_costs(part)
    macs = total(rows, "macs") + (find(rows, twice).macs if twice else 0)
    return rows[-1].output_shape[-1], macs / 1e6


def auxiliary_heads() -> Counts:
    """Counts GoogLeNet's auxiliary heads, and the main layers that depend on them."""
    rows = network("googlenet")
    inside = {row.name for row in rows if row.auxiliary}
    heads = {name.split("/")[0] for name in inside}
    fed = [row for row in rows if not row.auxiliary and inside & set(row.inputs)]
    return len(heads), len(fed)


def yes(is_true: bool) -> Counts:
    """Returns the answer to a question as a word."""
    return ("yes" if is_true else "no",)


def three_against_one() -> Counts:
    """Returns fields, weights / C^2, and ReLUs, each of three 3x3 and of one 7x7."""
    both = module_costs("three 3x3"), module_costs("one 7x7")
    return (
        *(rows[-1].receptive_field for rows in both),
        *(weights(rows) / 64**2 for rows in both),
        *(number(rows, "activation") for rows in both),
    )
