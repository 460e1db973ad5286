"""Pictures of the costs of networks, for slides.

They are as wide as a slide, 13.3 inches; the text has at least 9 points.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, ScalarFormatter

from cnn_arch.costs.blocks import Layer, find_blocks, find_layers
from cnn_arch.costs.layers import LayerCost
from cnn_arch.drawing.canvas import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    WIDTH,
    YELLOW,
    styled,
)
from cnn_arch.drawing.label_placement import write_beside

MOST_BARS = 45  # for more layers, a bar is a block, or a run of equal blocks
# Kinds of layers with memory for their output; all other layers work in place.
KEPT = "conv", "local", "max_pool", "avg_pool", "global_avg_pool", "dense"
LINES = (BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY, "black", GREY)
DASHES = "-", "--", "-.", ":"


def cost_bars(rows: Sequence[LayerCost]) -> tuple[list[str], np.ndarray]:
    """Returns N names, and memory of outputs (bytes), parameters and MACs: [3, N].

    For networks of many layers, a number is the sum over a block, or over a run of
    equal blocks.
    """
    layers = [layer for layer in find_layers(rows) if not layer.auxiliary]
    layers = [layer for layer in layers if layer.kind != "input"]
    kept = [layer for layer in layers if layer.kind in KEPT]
    if len(kept) <= MOST_BARS:
        return [layer.name for layer in kept], _costs([[layer] for layer in kept])
    blocks = find_blocks([layer for layer in layers if layer.kind != "lrn"])
    costs = _costs([block.layers for block in blocks])
    if sum(len(block.names) for block in blocks) <= MOST_BARS + 15:
        times = [len(block.names) for block in blocks]
        return [n for block in blocks for n in block.names], np.repeat(costs, times, 1)
    names = [
        block.names[0] if len(block.names) == 1 else f"{block.names[0]}, ..."
        for block in blocks
    ]
    return names, costs * [len(block.names) for block in blocks]


def _costs(groups: Sequence[Sequence[Layer]]) -> np.ndarray:
    memory = [
        sum(layer.output_bytes for layer in group if layer.kind in KEPT)
        for group in groups
    ]
    params = [sum(layer.params for layer in group) for group in groups]
    macs = [sum(layer.macs for layer in group) for group in groups]
    return np.array([memory, params, macs], float)


MEASURES = (
    ("Memory of the outputs", BLUE, (("MiB", 2**20), ("KiB", 2**10))),
    ("Parameters", GREEN, (("million", 1e6), ("thousand", 1e3))),
    ("Multiply-adds", ORANGE, (("million", 1e6), ("thousand", 1e3))),
)


@styled
def layer_bars(networks: Mapping[str, Sequence[LayerCost]]) -> Figure:
    """Draws memory, parameters and MACs of each layer of one network, or of two.

    Two networks are side by side and share their scales.
    """
    bars = {name: cost_bars(rows) for name, rows in networks.items()}
    widths = [len(names) + 3 for names, _ in bars.values()]
    figure = Figure(figsize=(WIDTH, 9), layout="constrained")
    grid = figure.subplots(
        nrows=3,
        ncols=len(bars),
        squeeze=False,
        sharex="col",
        sharey="row",
        width_ratios=widths,
    )
    first = next(iter(bars.values()))[1].sum(axis=1)
    for column, (layers, costs) in enumerate(bars.values()):
        for row, (title, color, units) in enumerate(MEASURES):
            axes: Axes = grid[row, column]
            most = max(cost[row].max() for _, cost in bars.values())
            unit, size = next((u for u in units if most >= 2 * u[1]), units[-1])
            values = costs[row] / size
            axes.bar(range(len(layers)), values, color=color, width=0.78)
            total = costs[row].sum()
            text = f"{title}: {_short(total / size)} {unit}"
            if column:
                text += f", {total / first[row]:.3g} times"
            elif len(bars) == 1:
                share = 100 * costs[row].max() / total
                text += f", most in {layers[values.argmax()]} ({share:.0f} %)"
            axes.set_title(text)
            if column == 0:
                axes.set_ylabel(unit)
            axes.grid(True, axis="y")
            axes.set_axisbelow(True)
            axes.set_xlim(-0.7, len(layers) - 0.3)
            axes.yaxis.set_major_locator(MaxNLocator(4))
            if sum(widths) <= 24:
                _write_values(axes, values)
        ticks = range(0, len(layers), 1 + len(layers) // (MOST_BARS + 16))
        axes.set_xticks(ticks, [layers[tick] for tick in ticks], rotation=90)
        axes.tick_params(axis="x", labelsize=11 if len(layers) <= 30 else 9, length=0)
    title = " and ".join(networks)
    figure.suptitle(f"{title}: what each layer costs, one image", fontsize=18)
    return figure


def _write_values(axes: Axes, values: np.ndarray) -> None:
    for index in np.flatnonzero(values):
        axes.annotate(
            _short(values[index]),
            xy=(index, values[index]),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=10,
        )
    axes.margins(y=0.16)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.{2 + (value >= 1)}g}"


@styled
def receptive_fields(networks: Mapping[str, Sequence[LayerCost]]) -> Figure:
    """Draws how the receptive field grows with depth, up to the last maps."""
    figure = Figure(figsize=(WIDTH, 7.5), layout="constrained")
    axes = figure.add_subplot()
    sizes = {rows[0].output_shape[0] for rows in networks.values()}
    for size in sorted(sizes):
        axes.axhline(size, color="#BBBBBB", linewidth=1, zorder=0)
    ends = []
    for index, (name, rows) in enumerate(networks.items()):
        color = LINES[index % len(LINES)]
        dashes = DASHES[(index + index // len(LINES)) % len(DASHES)]
        depths, fields = field_by_depth(rows)
        axes.plot(depths, fields, color=color, linestyle=dashes, zorder=2)
        axes.plot(depths[-1], fields[-1], "o", color=color, zorder=6)
        ends.append((depths[-1], fields[-1], 5.0, f"{name}  {fields[-1]:,}"))
    axes.set(xscale="log", yscale="log")
    axes.set_title("What a unit of each layer sees: the receptive field, px")
    axes.set_xlabel("convolutions and pools from the image on, on the longest path")
    steps = [step * 10**power for power in range(5) for step in (1, 2, 5)]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(steps))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(ScalarFormatter())
    axes.set_xlim(0.9, 2.6 * max(end[0] for end in ends))
    axes.set_ylim(2, 1.6 * max(end[1] for end in ends))
    axes.grid(True, alpha=0.6)
    write_beside(figure, axes, ends, size=13)
    note = f"side of the image: {', '.join(map(str, sorted(sizes)))} px"
    right, above = axes.get_xlim()[1] / 1.03, max(sizes) * 1.06
    axes.text(right, above, note, color=GREY, ha="right")
    return figure


def field_by_depth(rows: Sequence[LayerCost]) -> tuple[list[int], list[int]]:
    """Returns depths 1, 2, ... and the largest receptive field at each, px."""
    depths: dict[str, int] = {}
    largest: dict[int, int] = {}  # by depth
    for layer in find_layers(rows):
        counts = layer.kind in ("conv", "local", "max_pool", "avg_pool")
        depth = max((depths[source] for source in layer.inputs), default=0) + counts
        depths[layer.name] = depth
        if counts and not layer.auxiliary:
            largest[depth] = max(largest.get(depth, 0), layer.receptive_field)
    return list(largest), np.maximum.accumulate(list(largest.values())).tolist()
