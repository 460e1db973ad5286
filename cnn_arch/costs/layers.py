"""What a network costs, layer by layer, counted from the shapes of its forward pass.

One MAC is one multiply-add of a convolution or a dense layer, padding taps included,
biases, normalisation and activations excluded; FLOPs are twice that.
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
from cnn_arch.costs.trace import trace_layers
from cnn_arch.costs.walk import FIXED, Layer, Value, Walk
from cnn_arch.models import create_model
from cnn_arch.models.build import check_image_size


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """One row of the table; shapes are without the batch, costs of the whole batch.

    Attributes:
      name: the module's path, as in params; what a module computes besides its
        layers adds its kind: ``conv1/relu``, ``conv2_1/add``.
      kind: ``input``, ``conv``, ``dense``, ``max_pool``, ``avg_pool``,
        ``global_avg_pool``, ``batch_norm``, ``lrn``, ``scale``, ``activation``,
        ``dropout``, ``add``, ``concatenate`` or ``subsample``.
      output_shape: [H, W, C] or [C].
      params: learnable numbers, biases included.
      biases: those of them that are biases of convolutions and dense layers.
      macs: multiply-adds, padding taps included.
      padding_macs: those whose tap lies on the padding; XLA leaves them out.
      other_operations: all but multiply-adds: an element of an elementwise result
        counts one, a window or sum of k elements k - 1.
      transcendentals: those of them that XLA counts apart (exp, pow, rsqrt, tanh).
      xla_flops: what XLA counts of this row: 2 x (MACs - padding MACs) + other
        operations - transcendentals.
      output_elements: of the whole batch.
      output_bytes: of the whole batch.
      receptive_field: side of the field, px; of its longer side, were it not square.
      receptive_stride: px between the fields of neighbouring outputs. Of a dense
        layer: as if it slid over a larger image.
      receptive_offset: first pixel of the first output's field; negative: padding.
      receptive_field_hw: the field's height and width, px.
      inputs: the rows that feed this one.
      auxiliary: in an auxiliary head, which only training has.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    params: int
    biases: int
    macs: int
    padding_macs: int
    other_operations: int
    transcendentals: int
    xla_flops: int
    output_elements: int
    output_bytes: int
    receptive_field: int
    receptive_stride: int
    receptive_offset: int
    receptive_field_hw: tuple[int, int]
    inputs: tuple[str, ...]
    auxiliary: bool

    @property
    def flops(self) -> int:
        """Twice the MACs."""
        return 2 * self.macs


@dataclasses.dataclass(frozen=True)
class Costs:
    """What a network costs.

    Attributes:
      rows: the layers in the order of the forward pass; auxiliary heads after them.
      xla_flops_expected: what XLA will say of the whole. It is the sum of the rows'
        ``xla_flops``, but for the float32 numbers with which XLA adds.
      traced: the program of (variables, images), which can be lowered.
      model: the network.
    """

    rows: list[LayerCost]
    xla_flops_expected: int
    traced: Any
    model: Any

    def with_rows(self, rows: Sequence[LayerCost]) -> "Costs":
        """Returns the same with rows that say it otherwise, such as folded ones."""
        return dataclasses.replace(self, rows=list(rows))


def layer_costs(
    model: Any,
    image_size: int,
    channels: int,
    batch: int = 1,
    *,
    auxiliary: bool = True,
) -> list[LayerCost]:
    """Returns the layers in the order of the forward pass.

    Args:
      model: what ``create_model`` made.
      image_size: side of the square image, px.
      channels: 1 or 3.
      batch: number of images.
      auxiliary: with the auxiliary heads, after all others.
    """
    costs = count_costs(model, image_size, channels, batch, auxiliary=auxiliary)
    return costs.rows


def count_costs(
    model: Any,
    image_size: int,
    channels: int,
    batch: int = 1,
    *,
    auxiliary: bool = True,
) -> Costs:
    """Returns the same with the traced program."""
    costs = _count(model, image_size, channels, batch, train=False)
    if auxiliary and getattr(model, "aux_heads", False):
        heads = _count(model, image_size, channels, batch, train=True).rows
        costs = costs.with_rows([*costs.rows, *heads])
    return costs


def costs_of_config(config: ConfigDict) -> Costs:
    """Counts the network of a recipe at its image size, batch and precision.

    Raises:
      UsageError: the image is too small for the network, or there is no such network.
    """
    data, name = config.data, config.model.name
    fields = dict(config.model.fields, dtype=jnp.dtype(config.precision))
    model = create_model(name, data.num_classes or 1000, **fields)
    size = data.image_size, data.channels
    try:
        costs = count_costs(model, *size, config.batch_size)
        empty = not all(row.output_elements for row in costs.rows)
    except (ValueError, ZeroDivisionError):
        check_image_size(model, name, *size, option="--image_size")
        raise
    if empty:
        check_image_size(model, name, *size, option="--image_size")
    return costs


def _count(
    model: Any, image_size: int, channels: int, batch: int, *, train: bool
) -> Costs:
    """Counts the forward pass, or, as it is in training, the auxiliary heads alone."""
    traced, variables, classes = trace_layers(
        model, image_size, channels, batch, train=train
    )
    jaxpr = traced.jaxpr.jaxpr
    source = jaxpr.invars[-1].aval
    image = Layer("", "input", "input", shape=source.shape, dtype=source.dtype)
    walk = Walk(classes)
    walk.layers.append(image)
    walk.run(jaxpr, [FIXED] * (len(jaxpr.invars) - 1) + [Value(image, Seen())])
    layers = walk.finish()
    params, biases = _params(variables.get("params", {}), layers)
    names = _names(layers)
    rows = [
        _row(layer, names, params[id(layer)], biases[id(layer)]) for layer in layers
    ]
    kept = [row for row in rows if row.auxiliary == train]
    return Costs(kept, int(walk.xla_flops), traced, model)


def _row(layer: Layer, names: dict[int, str], params: int, biases: int) -> LayerCost:
    count, spans = layer.count, layer.seen.spans
    longer = max(spans, key=lambda span: span.size)
    elements = math.prod(layer.shape)
    return LayerCost(
        name=names[id(layer)],
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
        inputs=tuple(names[id(source)] for source in layer.inputs),
        auxiliary=layer.path.startswith("aux"),
    )


def _names(layers: Sequence[Layer]) -> dict[int, str]:
    """Names each layer; the second of a name gets a number."""
    seen: Counter[str] = Counter()
    names = {}
    for layer in layers:
        name = "/".join(part for part in (layer.path, layer.label) if part)
        seen[name] += 1
        names[id(layer)] = f"{name}_{seen[name]}" if seen[name] > 1 else name
    return names


def _params(params: Any, layers: Sequence[Layer]) -> tuple[Counter, Counter]:
    """Counts each layer's parameters and biases: those of the module of its name."""
    all_params, biases = Counter(), Counter()
    by_path: dict[str, Layer] = {}
    for layer in layers:
        if not layer.label:  # the first of a path is the one with parameters
            by_path.setdefault(layer.path, layer)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        keys = [entry.key for entry in path]
        if layer := by_path.get("/".join(keys[:-1])):
            all_params[id(layer)] += leaf.size
            if keys[-1] == "bias" and layer.kind != "batch_norm":
                biases[id(layer)] += leaf.size
    return all_params, biases
