"""Counts the costs of a network, layer by layer, from a traced forward pass.

One MAC is one multiply-add of a convolution or dense layer. MACs include padding taps;
they exclude biases, normalisation and activations. FLOPs = 2 x MACs.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from cnn_arch.costs.receptive_field import Seen
from cnn_arch.costs.trace import trace_layers, variable_shapes
from cnn_arch.costs.walk import FIXED, Layer, Value, Walk
from cnn_arch.models import create_model
from cnn_arch.models.build import check_image_size


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """One row of the table; shapes are without the batch, costs of the whole batch."""

    # The module's path, as in params. Operations outside of modules add their kind:
    # conv1/relu, conv2_1/add.
    name: str
    # input, conv, local, dense, max_pool, avg_pool, global_avg_pool, batch_norm, lrn,
    # scale, activation, dropout, add, concatenate or subsample.
    kind: str
    output_shape: tuple[int, ...]  # [H, W, C] or [C]
    params: int  # learnable numbers, biases included
    biases: int  # of convolutions and dense layers
    macs: int  # padding taps included
    padding_macs: int  # MACs whose tap lies on the padding; XLA leaves them out
    # All but MACs: one for each element of an elementwise result, k - 1 for a window or
    # sum of k elements.
    other_operations: int
    transcendentals: int  # of these, the ones that XLA counts separately: exp, pow, ...
    xla_flops: int  # 2 x (MACs - padding MACs) + other operations - transcendentals
    output_elements: int
    output_bytes: int
    receptive_field: int  # px; the longer side
    receptive_stride: int  # px; dense layers: as if they slid over a larger image
    receptive_offset: int  # first pixel of the first output's field; negative: padding
    receptive_field_hw: tuple[int, int]  # height and width, px
    inputs: tuple[str, ...]  # names of the rows that feed this one
    auxiliary: bool  # in an auxiliary head, which only training uses

    @property
    def flops(self) -> int:
        """Twice the MACs."""
        return 2 * self.macs


@dataclasses.dataclass(frozen=True)
class Costs:
    """The costs of a network, with its traced program."""

    rows: list[LayerCost]  # in the order of the forward pass; auxiliary heads last
    # XLA's own count: the sum of the rows' xla_flops, rounded as XLA adds in float32.
    xla_flops_expected: int
    traced: Any  # the program of (variables, images), which can be lowered
    model: Any


def layer_costs(
    model: Any, image_size: int, channels: int, batch: int = 1
) -> list[LayerCost]:
    """Returns the layers in the order of the forward pass; auxiliary heads last.

    Args:
      model: what ``create_model`` made.
      image_size: side of the square image, px.
      channels: 1 or 3.
      batch: number of images.
    """
    return count_costs(model, image_size, channels, batch).rows


def count_costs(model: Any, image_size: int, channels: int, batch: int = 1) -> Costs:
    """Returns the layers, as ``layer_costs`` does, with the traced program."""
    variables = variable_shapes(model, image_size, channels)
    shape = (batch, image_size, image_size, channels)
    image = jax.ShapeDtypeStruct(shape, jnp.float32)
    costs = _count(model, variables, image, train=False)
    if getattr(model, "aux_heads", False):
        costs.rows.extend(_count(model, variables, image, train=True).rows)
    return costs


def costs_of_config(config: ConfigDict) -> Costs:
    """Counts the network of a recipe at its image size, batch and precision.

    Raises:
      UsageError: the image is too small for the network, or there is no such network.
    """
    data, name = config.data, config.model.name
    fields = dict(config.model.fields, dtype=jnp.dtype(config.precision))
    model = create_model(name, data.num_classes or 1000, **fields)
    size, channels = data.image_size, data.channels
    try:
        costs = count_costs(model, size, channels, config.batch_size)
    except (ValueError, ZeroDivisionError):
        check_image_size(model, name, size, channels, option="--image_size")
        raise
    if not all(row.output_elements for row in costs.rows):
        check_image_size(model, name, size, channels, option="--image_size")
    return costs


def _count(
    model: Any, variables: Any, image: jax.ShapeDtypeStruct, *, train: bool
) -> Costs:
    """Counts the forward pass of evaluation, or training's auxiliary heads alone."""
    traced, classes = trace_layers(model, variables, image, train=train)
    jaxpr = traced.jaxpr.jaxpr
    source = jaxpr.invars[-1].aval
    first = Layer("", "input", "input", shape=source.shape, dtype=source.dtype)
    walk = Walk(classes)
    walk.layers.append(first)
    walk.run(jaxpr, [FIXED] * (len(jaxpr.invars) - 1) + [Value(first, Seen())])
    layers = walk.finish()
    params, biases = _params(variables.get("params", {}), layers)
    names = _names(layers)
    rows = [_row(layer, names, params[layer], biases[layer]) for layer in layers]
    kept = [row for row in rows if row.auxiliary == train]
    return Costs(kept, int(walk.xla_flops), traced, model)


def _row(layer: Layer, names: dict[Layer, str], params: int, biases: int) -> LayerCost:
    count, spans = layer.count, layer.seen.spans
    longer = max(spans, key=lambda span: span.size)
    elements = math.prod(layer.shape)
    return LayerCost(
        name=names[layer],
        kind=layer.kind,
        output_shape=tuple(layer.shape[1:]),
        params=params,
        biases=biases,
        macs=count.macs,
        padding_macs=count.padding_macs,
        other_operations=count.others,
        transcendentals=count.transcendentals,
        xla_flops=count.xla_flops,
        output_elements=elements,
        output_bytes=elements * layer.dtype.itemsize,
        receptive_field=int(longer.size),
        receptive_stride=int(longer.stride),
        receptive_offset=int(longer.start),
        receptive_field_hw=(int(spans[0].size), int(spans[1].size)),
        inputs=tuple(names[source] for source in layer.inputs),
        auxiliary=layer.path.startswith("aux"),
    )


def _names(layers: Sequence[Layer]) -> dict[Layer, str]:
    """Names each layer; the second of the same name gets the suffix ``_2``."""
    seen: Counter[str] = Counter()
    names = {}
    for layer in layers:
        name = "/".join(filter(None, (layer.path, layer.label)))
        seen[name] += 1
        names[layer] = f"{name}_{seen[name]}" if seen[name] > 1 else name
    return names


def _params(
    params: Any, layers: Sequence[Layer]
) -> tuple[Counter[Layer], Counter[Layer]]:
    """Counts each layer's parameters and, of these, its biases."""
    all_params, biases = Counter(), Counter()
    by_path: dict[str, Layer] = {}
    for layer in layers:
        if not layer.label:  # the first layer of a path has the parameters
            by_path.setdefault(layer.path, layer)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        *module, name = (entry.key for entry in path)
        if layer := by_path.get("/".join(module)):
            all_params[layer] += leaf.size
            if name == "bias" and layer.kind != "batch_norm":
                biases[layer] += leaf.size
    return all_params, biases
