"""The inside of a block, laid out from top to bottom: branches, shortcuts, joins.

Lengths are in points, from the top left.
"""

import dataclasses
from collections.abc import Iterator, Sequence

from cnn_arch.costs.blocks import JOINS, Block, Layer

FONT = 11.0  # size of the text
LINE = 14.0  # from line to line
CHARACTER = 6.7  # width of a character; DejaVu Sans is wider than most fonts
MARGIN = 14.0
GAP = 20.0  # between boxes, for an arrow
BEFORE = ""  # name of the block's input, next to the names of its layers
POOLS = {"max_pool": "max", "avg_pool": "mean"}


@dataclasses.dataclass(frozen=True)
class Box:
    """A box with centred lines of text; ``kind`` decides its colour."""

    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]
    kind: str
    auxiliary: bool = False
    repeated: bool = False


@dataclasses.dataclass(frozen=True)
class Arrow:
    """A line through points, with an arrowhead at its end."""

    points: tuple[tuple[float, float], ...]
    auxiliary: bool = False


@dataclasses.dataclass(frozen=True)
class Label:
    """A line of text without a box."""

    x: float  # left edge
    y: float  # middle of the height
    text: str
    bold: bool = False


@dataclasses.dataclass(frozen=True)
class Diagram:
    """Everything to draw."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    labels: tuple[Label, ...]


@dataclasses.dataclass(frozen=True)
class _Grid:
    """The positions of a block's boxes."""

    texts: dict[str, tuple[str, ...]]  # the lines of each layer's box
    level: dict[str, int]  # row of each layer
    middle: dict[str, float]  # x of each layer, and of each shortcut with a column
    tops: list[float]  # y of the upper edge of each level; the last is below all boxes

    def box(self, name: str, kind: str, *, auxiliary: bool) -> Box:
        """Returns a layer's box."""
        width = text_width(*self.texts[name])
        return Box(
            x=self.middle[name] - width / 2,
            y=self.tops[self.level[name]],
            width=width,
            height=_height(self.texts[name]),
            lines=self.texts[name],
            kind=kind,
            auxiliary=auxiliary,
        )

    def arrow(self, source: str, name: str) -> Arrow:
        """Leads from a layer down to another one, around the boxes between them."""
        shortcut = f"{source}>{name}"
        x, top = self.middle.get(shortcut, self.middle[source]), self.level[name]
        bottom = self.tops[self.level[source]] + _height(self.texts[source])
        turns = [(self.middle[source], bottom)]
        if shortcut in self.middle:
            turns.append((x, self.tops[self.level[source] + 1]))
        if top > 1:
            turns.append((x, self.tops[top] - GAP))
        turns.append((self.middle[name], self.tops[top]))
        return Arrow(tuple(dict.fromkeys(turns)))


def lay_out_block(
    blocks: Sequence[Block],
    shapes: dict[str, tuple[int, ...]],
    *,
    with_macs: bool = False,
) -> Diagram:
    """Lays out the inside of blocks of equal structure, from top to bottom.

    Args:
      blocks: if their widths differ, the text is a range.
      shapes: the output shape of every layer of the network, by name.
      with_macs: write each layer's MACs in place of its notes (``BN``, ``ReLU``).
    """
    layers = {layer.name: layer for layer in blocks[0].layers}
    inputs = {
        name: [source if source in layers else BEFORE for source in layer.inputs]
        for name, layer in layers.items()
    }
    widths = value_range([shapes[block.layers[0].inputs[0]][-1] for block in blocks])
    texts: dict[str, tuple[str, ...]] = {BEFORE: (f"{widths} maps",)}
    for index, name in enumerate(layers):
        equals = [block.layers[index] for block in blocks]
        texts[name] = _lines(equals, with_macs=with_macs)
    grid = _arrange(layers, inputs, texts)
    auxiliary = blocks[0].layers[0].auxiliary
    title = _title(blocks)
    edges = [grid.middle[n] + text_width(*lines) / 2 for n, lines in texts.items()]
    right = max(*edges, max(grid.middle.values()) + 10)
    return Diagram(
        width=max(right, len(title) * CHARACTER),
        height=grid.tops[-1] - GAP,
        boxes=tuple(
            grid.box(name, layers[name].kind if name else "input", auxiliary=auxiliary)
            for name in texts
        ),
        arrows=tuple(
            grid.arrow(source, name)
            for name, sources in inputs.items()
            for source in sources
        ),
        labels=(Label(0, LINE / 2, title),),
    )


def _lines(equals: Sequence[Layer], *, with_macs: bool) -> tuple[str, ...]:
    """Returns the text for a layer that several blocks have."""
    layer = equals[0]
    notes = ", ".join(layer.notes)
    if with_macs and layer.macs:
        notes = f"{layer.macs / 1e6:,.1f} M MACs"
    head = "" if layer.kind in JOINS else layer.name.partition("/")[2]
    return tuple(filter(None, (head, describe(equals), notes)))


def _height(lines: Sequence[str]) -> float:
    return LINE * len(lines) + 8


def _arrange(
    layers: dict[str, Layer],
    inputs: dict[str, list[str]],
    texts: dict[str, tuple[str, ...]],
) -> _Grid:
    level = {BEFORE: 0}
    for name in layers:
        level[name] = 1 + max(level[source] for source in inputs[name])
    tops = [1.5 * LINE]
    for depth in range(max(level.values()) + 1):
        heights = [_height(texts[name]) for name in texts if level[name] == depth]
        tops.append(tops[-1] + max(heights) + GAP)
    widths = {name: text_width(*lines) for name, lines in texts.items()}
    center = _place(layers, inputs, widths)
    shift = -min(center[name] - widths[name] / 2 for name in widths)
    shift = max(shift, -min(center.values()) + 10)
    middle = {name: x + shift for name, x in center.items()}
    return _Grid(texts, level, middle, tops)


def _title(blocks: Sequence[Block]) -> str:
    names = [name for block in blocks for name in block.names]
    if len(names) == 1:
        return f"{names[0]}:"
    if len(names) == 2:
        return f"{names[0]} and {names[1]}:"
    return f"{names[0]} and {len(names) - 1} more like it:"


def _place(
    layers: dict[str, Layer],
    inputs: dict[str, list[str]],
    widths: dict[str, float],
) -> dict[str, float]:
    """Returns the middle of each layer, and of each shortcut ``source>join``.

    A layer is below its input. Layers and shortcuts with the same input are side by
    side. A join is in the middle of its inputs.
    """
    children: dict[str, list[str]] = {name: [] for name in widths}
    for name, layer in layers.items():
        if layer.kind not in JOINS:
            children[inputs[name][0]].append(name)
    for name, layer in layers.items():
        for source in inputs[name] if layer.kind in JOINS else ():
            if sum(sources.count(source) for sources in inputs.values()) > 1:
                children[source].append(f"{source}>{name}")

    def span(name: str) -> float:
        below = [span(child) for child in children.get(name, ())]
        return max(widths.get(name, 12.0), sum(below) + GAP * (len(below) - 1))

    def place(name: str, middle: float) -> Iterator[tuple[str, float]]:
        yield name, middle
        below = [span(child) for child in children.get(name, ())]
        left = middle - (sum(below) + GAP * (len(below) - 1)) / 2
        for child, width in zip(children.get(name, ()), below, strict=True):
            yield from place(child, left + width / 2)
            left += width + GAP

    center = dict(place(BEFORE, 0.0))
    for name, layer in layers.items():
        if layer.kind in JOINS:
            arriving = [center.get(f"{s}>{name}", center[s]) for s in inputs[name]]
            center |= place(name, sum(arriving) / len(arriving))
    return center


def describe(layers: Sequence[Layer]) -> str:
    """Describes the same layer of equal blocks: ``3x3/2, 64-128``."""
    layer = layers[0]
    width = value_range([each.output_shape[-1] for each in layers])
    window = "x".join(map(str, layer.window)) if layer.window else ""
    strides = value_range([each.stride for each in layers])
    step = "" if strides == "1" else f"/{strides}"
    if layer.kind in POOLS and not layer.window:
        height, breadth, _ = layer.output_shape
        return f"{POOLS[layer.kind]} to {height}x{breadth}"
    if layer.kind in POOLS:
        return f"{POOLS[layer.kind]} {window}{step}"
    plain = {
        "input": "image",
        "conv": f"{window}{step}, {width}",
        "local": f"{window} local, {width}",
        "global_avg_pool": "mean of all",
        "lrn": "LRN",
        "subsample": f"1 px of {strides}x{strides}, {width}",
    }
    return plain.get(layer.kind, f"{layer.kind}, {width}")


def value_range(values: Sequence[int]) -> str:
    """Writes the smallest and the largest value: ``64-128``, or ``64`` if equal."""
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}-{high}"


def text_width(*lines: str) -> float:
    """Returns the width of a box around these lines."""
    return max(len(line) for line in lines) * CHARACTER + 14
