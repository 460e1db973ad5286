"""Groups the rows of the cost table into layers and blocks.

A layer here includes the in-place operations after it: BatchNorm, activation, dropout,
and the coefficients of LeNet-5's pools. A block has one name at the top level of the
network, such as ``conv1`` or ``inception_3a``.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from cnn_arch.costs.layers import LayerCost

# Operations that are counted with the layer before them, and how notes name them.
IN_PLACE = {
    "batch_norm": "BN",
    "activation": "",  # noted by its own name
    "dropout": "dropout",
    "scale": "scale",
}
SUMMED = (
    "params biases macs padding_macs other_operations transcendentals xla_flops"
).split()
JOINS = "add", "concatenate"


@dataclasses.dataclass(frozen=True)
class Layer:
    """A row of the cost table with the in-place operations after it."""

    name: str  # its path, or its module's path if that module has no other layer
    kind: str  # as in the cost table
    # Height and width of the kernel or pooling window; None without a window, or if
    # its size varies.
    window: tuple[int, int] | None
    stride: int  # its receptive stride over its input's
    notes: tuple[str, ...]  # the operations in place: BN, ReLU
    output_shape: tuple[int, ...]  # [H, W, C] or [C]
    params: int  # of the operations in place, too
    macs: int  # of the batch
    output_bytes: int  # of the batch; operations in place need none
    receptive_field: int  # side, px
    receptive_stride: int  # px
    inputs: tuple[str, ...]  # names of layers
    auxiliary: bool  # in an auxiliary head


@dataclasses.dataclass(frozen=True)
class Block:
    """One or more layers with one name at the top level."""

    names: tuple[str, ...]  # of this block and of the equal blocks directly after it
    layers: tuple[Layer, ...]  # of the first of these blocks

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of its last layer."""
        return self.layers[-1].output_shape


def group(rows: Sequence[LayerCost]) -> dict[str, list[LayerCost]]:
    """Returns each layer's row, then its in-place operations' rows, by its name."""
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
    """Adds the costs of in-place operations to the layers before them.

    A layer keeps its name, kind and output.
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
                output_shape=row.output_shape,
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
    """Names a group by its module if it is the module's only layer: ``3x3``."""
    sizes = Counter(  # rows in each module
        str(parent)
        for group in groups.values()
        for row in group
        for parent in PurePosixPath(row.name).parents
    )
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
    """Returns window and stride, from the growth of the receptive field."""
    if row.kind not in ("conv", "local", "max_pool", "avg_pool", "subsample"):
        return None, 1
    before = by_name[row.inputs[0]]
    step = before.receptive_stride
    fields = zip(row.receptive_field_hw, before.receptive_field_hw, strict=True)
    height, width = ((after - field) // step + 1 for after, field in fields)
    # Pooling to a fixed size has windows of several sizes. Its receptive field covers
    # the whole map.
    sees_all = (height, width) == before.output_shape[:2] != (1, 1)
    varied = sees_all and row.output_shape[:2] != (1, 1)
    window = None if varied or row.kind == "subsample" else (height, width)
    return window, row.receptive_stride // step


def _note(row: LayerCost) -> str:
    if row.kind == "activation":
        name = row.name.rpartition("/")[2].partition("_")[0]
        return "ReLU" if name == "relu" else name
    return IN_PLACE[row.kind]


def find_blocks(layers: Sequence[Layer]) -> list[Block]:
    """Groups layers by their name at the top level; merges equal neighbours."""
    grouped: dict[str, list[Layer]] = {}
    for layer in layers:
        grouped.setdefault(layer.name.partition("/")[0], []).append(layer)
    blocks: list[Block] = []
    before: tuple[object, ...] = ()
    for name, members in grouped.items():
        own = signature(members, widths=True)
        if own == before and len(members) > 1:
            blocks[-1] = Block((*blocks[-1].names, name), blocks[-1].layers)
        else:
            blocks.append(Block((name,), tuple(members)))
        before = own
    return blocks


def signature(layers: Sequence[Layer], *, widths: bool) -> tuple[object, ...]:
    """Returns a value that is the same for equal blocks.

    Without ``widths``, shapes and strides may differ, but not the connections.
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
