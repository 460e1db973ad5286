"""The diagram of a network, laid out from the rows of its cost table.

The upper part shows the whole network: a column for each size of the maps, with the
blocks from top to bottom. The lower part shows each kind of block once, with branches,
shortcuts and widths (a range if they differ). Lengths are in points, from the top left.
"""

import dataclasses
from collections.abc import Sequence

from cnn_arch.catalogue.block_diagram import (
    CHARACTER,
    GAP,
    LINE,
    MARGIN,
    Arrow,
    Box,
    Diagram,
    Label,
    describe,
    lay_out_block,
    text_width,
)
from cnn_arch.costs.blocks import Block, find_blocks, find_layers, signature
from cnn_arch.costs.layers import LayerCost


def lay_out(title: str, rows: Sequence[LayerCost]) -> Diagram:
    """Returns the diagram of a network, about 16 to 9 in shape, with a title above."""
    layers = find_layers(rows)
    blocks = find_blocks(layers)
    shapes = {layer.name: layer.output_shape for layer in layers}
    insides = [lay_out_block(kind, shapes) for kind in _kinds(blocks)]
    drawn = [_overview(blocks), *insides]
    narrowest = max(*(part.width for part in drawn), 1.3 * len(title) * CHARACTER)
    trials = [_pack(drawn, max(narrowest, width)) for width in range(600, 2000, 50)]
    width, height, parts = min(trials, key=lambda one: max(one[0] / 16, one[1] / 9))
    return _assemble(title, max(width, narrowest + 2 * MARGIN), height, parts)


def lay_out_inside(title: str, rows: Sequence[LayerCost]) -> Diagram:
    """Returns the diagram of the only block's inside, with the MACs of each layer."""
    layers = find_layers(rows)
    shapes = {layer.name: layer.output_shape for layer in layers}
    (block,) = [each for each in find_blocks(layers) if len(each.layers) > 1]
    panel = lay_out_block([block], shapes, with_macs=True)
    panel = dataclasses.replace(panel, labels=())
    return _assemble(title, *_pack([panel], panel.width))


def _assemble(
    title: str,
    width: float,
    height: float,
    parts: Sequence[tuple[float, float, Diagram]],
) -> Diagram:
    """Moves each part to its x and y, and puts the title above."""
    return Diagram(
        width=width,
        height=height,
        boxes=tuple(
            dataclasses.replace(box, x=box.x + x, y=box.y + y)
            for x, y, part in parts
            for box in part.boxes
        ),
        arrows=tuple(
            dataclasses.replace(
                arrow, points=tuple((px + x, py + y) for px, py in arrow.points)
            )
            for x, y, part in parts
            for arrow in part.arrows
        ),
        labels=(
            Label(MARGIN, 1.4 * LINE, title, bold=True),
            *(
                dataclasses.replace(label, x=label.x + x, y=label.y + y)
                for x, y, part in parts
                for label in part.labels
            ),
        ),
    )


def _pack(
    parts: Sequence[Diagram], width: float
) -> tuple[float, float, list[tuple[float, float, Diagram]]]:
    """Puts each part where there is room, as high as possible and then as far left.

    Returns:
      The total width and height, and (x, y, part) for each part.
    """
    placed: list[tuple[float, float, Diagram]] = []

    def is_free(x: float, y: float, part: Diagram) -> bool:
        return all(
            x >= left + other.width + 2 * GAP
            or left >= x + part.width + 2 * GAP
            or y >= top + other.height + GAP
            or top >= y + part.height + GAP
            for left, top, other in placed
        )

    for part in parts:
        rows = {2.6 * LINE, *(top + other.height + GAP for _, top, other in placed)}
        columns = {MARGIN, *(x + other.width + 2 * GAP for x, _, other in placed)}
        corners = sorted((y, x) for y in rows for x in columns)
        y, x = next(
            (y, x)
            for y, x in corners
            if (x == MARGIN or x + part.width <= width) and is_free(x, y, part)
        )
        placed.append((x, y, part))
    right = max(x + part.width for x, _, part in placed)
    bottom = max(y + part.height for _, y, part in placed)
    return right + MARGIN, bottom + MARGIN, placed


def _overview(blocks: Sequence[Block]) -> Diagram:
    """Lays out the blocks in columns, with auxiliary heads to the right of a block."""
    heads: dict[str, list[Block]] = {}
    columns: list[tuple[str, list[Block]]] = []
    for block in blocks:
        if block.layers[0].auxiliary:
            source = block.layers[0].inputs[0].partition("/")[0]
            heads.setdefault(source, []).append(block)
            continue
        shape = block.output_shape
        size = f"{shape[0]} x {shape[1]}" if len(shape) == 3 else "vectors"
        if not columns or columns[-1][0] != size:
            columns.append((size, []))
        columns[-1][1].append(block)

    boxes, arrows, labels = [], [], []
    left, last = 0.0, None
    for size, members in columns:
        labels.append(Label(left, LINE / 2, size))
        width = max(text_width(size, *_lines(block)) for block in members)
        right, top = left + width, 1.5 * LINE
        for block in members:
            box = _block_box(block, left, top, width)
            if last is not None:
                x, bottom = last.x + last.width / 2, last.y + last.height
                if last.x == left:
                    arrows.append(Arrow(((x, bottom), (x, top))))
                else:  # to the next column, between the two
                    below, gutter = bottom + GAP / 2, left - GAP / 2
                    across = (x, below), (gutter, below)
                    end = left, top + box.height / 2
                    arrows.append(Arrow(((x, bottom), *across, (gutter, end[1]), end)))
            boxes.append(box)
            for head in heads.get(block.names[-1], ()):
                start = left + width, top + box.height / 2
                aside = _block_box(head, left + width + GAP, top, None)
                arrows.append(Arrow((start, (aside.x, start[1])), auxiliary=True))
                boxes.append(aside)
                right = max(right, aside.x + aside.width)
            top += box.height + GAP
            last = box
        left = right + 1.5 * GAP
    bottom = max(box.y + box.height for box in boxes) + GAP / 2
    return Diagram(left - GAP, bottom, tuple(boxes), tuple(arrows), tuple(labels))


def _lines(block: Block) -> tuple[str, str]:
    name, layer = block.names[0], block.layers[0]
    if layer.kind == "input":
        return "image", f"{block.output_shape[-1]} channels"
    if len(block.layers) == 1:
        return name, describe(block.layers)
    if layer.auxiliary:
        return name, "auxiliary"
    times = f"{len(block.names)} times, " if len(block.names) > 1 else ""
    return name, f"{times}{block.output_shape[-1]}"


def _block_box(block: Block, x: float, y: float, width: float | None) -> Box:
    lines = _lines(block)
    return Box(
        x=x,
        y=y,
        width=width or text_width(*lines),
        height=2 * LINE + 8,
        lines=lines,
        kind=block.layers[0].kind if len(block.layers) == 1 else "block",
        auxiliary=block.layers[0].auxiliary,
        repeated=len(block.names) > 1,
    )


def _kinds(blocks: Sequence[Block]) -> list[list[Block]]:
    """Returns the blocks of more than one layer, grouped by equal structure."""
    kinds: dict[object, list[Block]] = {}
    for block in blocks:
        if len(block.layers) > 1:
            kinds.setdefault(signature(block.layers, widths=False), []).append(block)
    return list(kinds.values())
