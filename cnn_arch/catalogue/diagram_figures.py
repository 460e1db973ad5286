"""Diagrams as pictures: of a network, and of inception modules with their MACs."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.transforms import Affine2D

from cnn_arch.catalogue.block_diagram import FONT, LINE, Diagram
from cnn_arch.catalogue.diagram import lay_out_inside
from cnn_arch.costs.blocks import JOINS, find_layers
from cnn_arch.costs.layers import LayerCost
from cnn_arch.drawing.canvas import BLUE, GREEN, GREY, ORANGE, PALE_BLUE, PURPLE, styled

# Fill of each kind of box.
FILLS = {
    "conv": PALE_BLUE,
    "local": PALE_BLUE,
    "dense": "#BFE3D4",
    "max_pool": "#FBDDBF",
    "avg_pool": "#FBDDBF",
    "global_avg_pool": "#FBDDBF",
    "lrn": "#E4E4E4",
}


@styled
def draw_diagram(diagram: Diagram) -> Figure:
    """Draws the result of ``diagram.lay_out``."""
    figure = Figure(figsize=(diagram.width / 72, diagram.height / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, diagram.width), ylim=(diagram.height, 0))
    axes.set_axis_off()
    _draw(axes, diagram)
    return figure


def _draw(axes: Axes, diagram: Diagram, left: float = 0.0) -> None:
    """Draws a diagram, ``left`` points from the edge, on axes whose unit is a point."""
    shift = Affine2D().translate(left, 0) + axes.transData
    for arrow in diagram.arrows:
        style: dict[str, Any] = {
            "arrowstyle": "-|>,head_length=4,head_width=2",
            "color": "#444444",
            "linewidth": 1.2,
            "linestyle": (0, (4, 3)) if arrow.auxiliary else "-",
            "joinstyle": "round",
            "transform": shift,
        }
        axes.add_patch(FancyArrowPatch(path=Path(arrow.points), **style))
    for box in diagram.boxes:
        rounding = box.height / 2 if box.kind in JOINS else 4
        style = {
            "boxstyle": f"round,pad=0,rounding_size={rounding}",
            "edgecolor": BLUE if box.kind == "block" else "#444444",
            "facecolor": FILLS.get(box.kind, "white"),
            "linewidth": 1.8 if box.kind == "block" else 0.8,
            "linestyle": "--" if box.auxiliary else "-",
            "transform": shift,
        }
        for offset in (6, 3, 0) if box.repeated else (0,):
            corner = box.x + offset, box.y + offset
            axes.add_patch(FancyBboxPatch(corner, box.width, box.height, **style))
        middle = box.x + box.width / 2
        top = box.y + box.height / 2 - LINE * (len(box.lines) - 1) / 2
        style = {"ha": "center", "va": "center_baseline", "transform": shift}
        for index, text in enumerate(box.lines):
            axes.text(middle, top + index * LINE, text, fontsize=FONT, **style)
    for label in diagram.labels:
        style = {"fontsize": FONT, "color": GREY}
        if label.bold:
            style = {"fontsize": 1.3 * FONT}
        style |= {"weight": "bold", "va": "center_baseline", "transform": shift}
        axes.text(label.x, label.y, label.text, **style)


# Colour and hatch of each convolution of an inception module.
SEGMENTS = {
    "1x1": (BLUE, ""),
    "3x3_reduce": (GREEN, "///"),
    "3x3": (GREEN, ""),
    "5x5_reduce": (ORANGE, "///"),
    "5x5": (ORANGE, ""),
    "pool_proj": (PURPLE, ""),
}


@styled
def inception_modules(modules: Mapping[str, Sequence[LayerCost]]) -> Figure:
    """Draws inception modules side by side, with a bar of MACs for each below.

    Each module is the only block of its rows.
    """
    diagrams = [lay_out_inside(title, rows) for title, rows in modules.items()]
    space = 30.0
    width = sum(diagram.width for diagram in diagrams) + space * (len(diagrams) - 1)
    top = max(diagram.height for diagram in diagrams)
    below = 80.0 + 60.0 * len(modules)
    height = below / (top + below)  # of the bars, as a share of the figure
    figure = Figure(figsize=(width / 72, (top + below) / 72))
    axes = figure.add_axes((0, height, 1, top / (top + below)))
    axes.set(xlim=(0, width), ylim=(top, 0))
    axes.set_axis_off()
    left = 0.0
    for diagram in diagrams:
        _draw(axes, diagram, left)
        left += diagram.width + space
    axes = figure.add_axes((0.12, 0.32 * height, 0.8, 0.62 * height))
    for row, rows in enumerate(modules.values()):
        start = 0.0
        for layer in find_layers(rows):
            if not layer.macs:
                continue
            name = layer.name.rpartition("/")[2]
            color, hatch = SEGMENTS[name]
            macs = layer.macs / 1e6
            style: dict[str, Any] = {"color": color, "edgecolor": "white"}
            axes.barh(row, macs, left=start, height=0.7, hatch=hatch, **style)
            if macs > 60:
                text = f"{name}: {macs:,.0f}"
                style = {"color": "white", "ha": "center", "va": "center"}
                axes.text(start + macs / 2, row, text, weight="bold", **style)
            start += macs
        axes.text(start, row, f"  {start:,.0f} in all", va="center", weight="bold")
    axes.set_yticks(range(len(modules)), [title.split(":")[0] for title in modules])
    axes.set_xlim(0, 1.16 * max(sum(r.macs for r in m) for m in modules.values()) / 1e6)
    axes.invert_yaxis()
    text = "multiply-adds, million; first: 1x1; hatched: 1x1 before a larger kernel; "
    axes.set_xlabel(f"{text}last: 1x1 after the pool", fontsize=11)
    return figure
