"""The picture of the gradients' norms over the depth of a network."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from cnn_arch.drawing.canvas import BLUE, GREEN, ORANGE, styled, write

MAX_NAMES = 24  # of layers on the axis
STYLES = ((BLUE, "-"), (GREEN, "--"), (ORANGE, ":"))


@styled
def draw(path: Path, lines: Mapping[str, Mapping[str, float]]) -> None:
    """Draws the norm of each layer, in the network's order: a line for each moment.

    A moment, such as "epoch 3", has the norm of each layer by its name. There are at
    most three. A norm of 0, as of a frozen layer, leaves a gap: the axis is a log.
    """
    names = list(next(iter(lines.values())))
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()
    depth = np.arange(1, len(names) + 1)
    marker = "o" if len(names) <= MAX_NAMES else ""
    for (label, norms), (color, dashes) in zip(lines.items(), STYLES, strict=False):
        values = np.array(list(norms.values()))
        shown = np.where(values > 0, values, np.nan)
        axes.plot(depth, shown, dashes, color=color, label=label, marker=marker)
    stride = -(-len(names) // MAX_NAMES)
    axes.set_xticks(depth[::stride], names[::stride], rotation=90, fontsize=9)
    axes.set(
        title="Gradient of each layer's weights",
        ylabel="L2 norm",
        yscale="log",
    )
    axes.grid(True)
    low, high = axes.get_ylim()
    if high < 100 * low:  # too few powers of ten to be read
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    # Plain numbers: the style of all pictures reads no formulas.
    axes.yaxis.set_major_formatter(lambda norm, _: f"{norm:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    figure.legend(loc="outside lower center", ncols=len(lines))
    write(figure, path)
