"""From the rows of the cost table to what a reader sees: layers, blocks, repetitions.

A layer here takes in what follows it in place: BatchNorm, activation, dropout, and the
coefficients of LeNet-5's pools. A block is what has one name at the top level of the
network: ``conv1``, ``inception_3a``.
"""

import dataclasses
from collections.abc import Sequence

from cnn_arch.costs.layers import LayerCost

# What joins the layer before it, and what it is then called.
IN_PLACE = {
    "batch_norm": "BN",
    "activation": "",  # its own name
    "dropout": "dropout",
    "scale": "scale",
}
SUMMED = (
    "params",
    "biases",
    "macs",
    "padding_macs",
    "other_operations",
    "transcendentals",
    "xla_flops",
)
ACTIVATIONS = {"relu": "ReLU"}
JOINS = "add", "concatenate"


@dataclasses.dataclass(frozen=True)
class Layer:
    """A row of the cost table with what follows it in place.

    Attributes:
      name: its path; that of the module which is nothing but this layer.
      kind: as in the cost table.
      window: height and width of kernel or pooling window; None where there is none,
        or where they differ.
      stride: how much larger the receptive stride is than that of its input.
      notes: what follows in place: ``BN``, ``ReLU``.
      output_shape: [H, W, C] or [C].
      params: learnable numbers, those of what follows included.
      macs: multiply-adds, of the batch.
      output_bytes: of the batch; what follows in place takes none.
      receptive_field: side, px.
      receptive_stride: px.
      inputs: names of layers; "" is the image.
      auxiliary: in an auxiliary head.
    """

    name: str
    kind: str
    window: tuple[int, int] | None
    stride: int
    notes: tuple[str, ...]
    output_shape: tuple[int, ...]
    params: int
    macs: int
    output_bytes: int
    receptive_field: int
    receptive_stride: int
    inputs: tuple[str, ...]
    auxiliary: bool


@dataclasses.dataclass(frozen=True)
class Block:
    """One or more layers with one name at the top level.

    Attributes:
      names: of this block and of its equals that follow it directly.
      layers: of the first of them.
    """

    names: tuple[str, ...]
    layers: tuple[Layer, ...]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of its last layer."""
        return self.layers[-1].output_shape


def group(rows: Sequence[LayerCost]) -> dict[str, list[LayerCost]]:
    """Returns each layer, the image first, with what follows it in place, by name."""
    groups: dict[str, list[LayerCost]] = {}
    home: dict[str, str] = {}  # row -> first row of its group
    for row in rows:
        before = home[row.inputs[0]] if len(row.inputs) == 1 else ""
        if row.kind in IN_PLACE and before and groups[before][0].kind != "input":
            groups[before].append(row)
            home[row.name] = before
        else:
            groups[row.name] = [row]
            home[row.name] = row.name
    return groups


def fold(rows: Sequence[LayerCost]) -> list[LayerCost]:
    """Counts to each layer what follows it in place.

    A layer keeps its name, kind and output; parameters and operations add up.
    """
    groups = group(rows)
    home = {row.name: name for name, members in groups.items() for row in members}
    return [
        dataclasses.replace(
            members[0],
            inputs=tuple(home[name] for name in members[0].inputs),
            **{key: sum(getattr(row, key) for row in members) for key in SUMMED},
        )
        for members in groups.values()
    ]


def find_layers(rows: Sequence[LayerCost]) -> list[Layer]:
    """Returns the layers, the image first."""
    groups = group(rows)
    folded = {row.name: row for row in fold(rows)}
    names = _module_names(groups)
    layers = []
    for row, (_, *followers) in zip(folded.values(), groups.values(), strict=True):
        window, stride = _window(row, folded)
        layers.append(
            Layer(
                name=names[row.name],
                kind=row.kind,
                window=window,
                stride=stride,
                notes=tuple(_note(follower) for follower in followers),
                output_shape=tuple(row.output_shape),
                params=row.params,
                macs=row.macs,
                output_bytes=row.output_bytes,
                receptive_field=row.receptive_field,
                receptive_stride=row.receptive_stride,
                inputs=tuple(names[source] for source in row.inputs),
                auxiliary=row.auxiliary,
            )
        )
    return layers


def _module_names(groups: dict[str, list[LayerCost]]) -> dict[str, str]:
    """Names each group by the module whose only layer it is: ``3x3``, not its conv."""
    sizes: dict[str, int] = {}  # rows in each module
    for group in groups.values():
        for row in group:
            parts = row.name.split("/")
            for depth in range(1, len(parts)):
                parent = "/".join(parts[:depth])
                sizes[parent] = sizes.get(parent, 0) + 1
    names = {}
    for first, group in groups.items():
        parent = first.rpartition("/")[0]
        inside = sum(row.name.startswith(f"{parent}/") for row in group)
        alone = bool(parent) and sizes[parent] == inside
        names[first] = parent if alone else first
    return names


def _window(
    row: LayerCost, by_name: dict[str, LayerCost]
) -> tuple[tuple[int, int] | None, int]:
    """Returns window and stride, from how the receptive field grows."""
    if row.kind not in ("conv", "max_pool", "avg_pool", "subsample"):
        return None, 1
    before = by_name[row.inputs[0]]
    step = before.receptive_stride
    fields = zip(row.receptive_field_hw, before.receptive_field_hw, strict=True)
    height, width = ((after - field) // step + 1 for after, field in fields)
    # Pooling to a fixed size has windows of several sizes: as if it saw all.
    sees_all = (height, width) == before.output_shape[:2] != (1, 1)
    varied = sees_all and row.output_shape[:2] != (1, 1)
    window = None if varied or row.kind == "subsample" else (height, width)
    return window, row.receptive_stride // step


def _note(row: LayerCost) -> str:
    if row.kind == "activation":
        name = row.name.rpartition("/")[2].partition("_")[0]
        return ACTIVATIONS.get(name, name)
    return IN_PLACE[row.kind]


def find_blocks(layers: Sequence[Layer]) -> list[Block]:
    """Groups layers by their name at the top level; equals in a row become one."""
    grouped: dict[str, list[Layer]] = {}
    for layer in layers:
        grouped.setdefault(layer.name.partition("/")[0], []).append(layer)
    blocks: list[Block] = []
    before: tuple[object, ...] = ()
    for name, members in grouped.items():
        own = signature(members, widths=True)
        if blocks and own == before and len(members) > 1:
            last = blocks[-1]
            blocks[-1] = Block((*last.names, name), last.layers)
        else:
            blocks.append(Block((name,), tuple(members)))
        before = own
    return blocks


def signature(layers: Sequence[Layer], *, widths: bool) -> tuple[object, ...]:
    """Returns what equal blocks have in common.

    Args:
      layers: of one block.
      widths: with the shapes; otherwise only how the layers are connected.
    """
    block = layers[0].name.partition("/")[0]

    def inside(name: str) -> str:
        return name.removeprefix(block) if name.startswith(f"{block}/") else "before"

    return tuple(
        (
            inside(layer.name),
            layer.kind,
            layer.window,
            layer.notes,
            tuple(inside(source) for source in layer.inputs),
            (layer.stride, layer.output_shape) if widths else (),
        )
        for layer in layers
    )
