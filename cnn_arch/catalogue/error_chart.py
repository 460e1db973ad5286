"""The chart of error against operations, with parameters as area.

After A. Canziani, E. Culurciello, A. Paszke, "An Analysis of Deep Neural Network Models
for Practical Applications", 2017, https://arxiv.org/abs/1605.07678, Figure 2; here with
sourced errors and counted operations.
"""

import dataclasses
import math
import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cnn_arch.catalogue.published import (
    ONE_CROP,
    PublishedError,
    family,
    published_errors,
)
from cnn_arch.drawing.canvas import BLUE, GREEN, ORANGE, PURPLE, SKY, YELLOW, styled
from cnn_arch.drawing.label_placement import write_beside

COLORS = {
    "AlexNet": ORANGE,
    "VGG": BLUE,
    "Inception": GREEN,
    "ResNet": PURPLE,
    "Plain": SKY,
    "NiN": YELLOW,
    "LeNet": "#000000",
    "Others": "#999999",
}
LARGEST = 36.0  # radius of the largest bubble, points


@dataclasses.dataclass(frozen=True)
class Bubble:
    """A network in the chart: its costs, and the best published error to compare."""

    network: str
    macs: int  # multiply-adds of one image
    params: int
    top1: float  # error, percent
    error: PublishedError


def find_bubbles(costs: Mapping[str, Mapping[str, int]]) -> list[Bubble]:
    """Returns the networks with a published top-1 error on ImageNet.

    ``costs`` has the result of ``summary.totals`` for each network.
    """
    bubbles = []
    for network, total in costs.items():
        for error in published_errors(network, "ImageNet"):
            if error.top1 is not None:
                macs, params = total["macs"], total["params"]
                bubbles.append(Bubble(network, macs, params, error.top1, error))
                break  # the first error compares best
    return bubbles


@styled
def error_against_operations(bubbles: Sequence[Bubble]) -> Figure:
    """Draws the chart.

    A filled bubble's error is for one central crop, a hollow one's for several or
    larger views of each image.
    """
    figure = Figure(figsize=(13.3, 9), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title("ImageNet: top-1 error against operations, parameters as area")
    axes.set_xlabel("multiply-adds of one image, billion")
    axes.set_ylabel("top-1 error of one model, %")
    axes.grid(True)
    axes.set_axisbelow(True)
    most = max(bubble.params for bubble in bubbles)
    radii = [LARGEST * math.sqrt(bubble.params / most) for bubble in bubbles]
    places = []
    order = sorted(range(len(bubbles)), key=lambda index: -radii[index])
    for index in order:  # small bubbles last, in front of large ones
        bubble = bubbles[index]
        color = COLORS[family(bubble.network)[0]]
        x, y = bubble.macs / 1e9, bubble.top1
        filled = bubble.error.protocol == ONE_CROP
        axes.scatter(
            x,
            y,
            s=(2 * radii[index]) ** 2,
            facecolors=(color, 0.45) if filled else "none",
            edgecolors=color,
            linewidths=1.6,
            linestyles="-" if filled else (0, (3, 2)),
        )
        places.append((x, y, radii[index], bubble.network))
    xs, ys, *_ = zip(*places, strict=True)
    axes.set_xlim(-0.9, max(xs) + 1.6)
    axes.set_ylim(min(ys) - 2, max(ys) + 3)
    figure.supxlabel(cite(bubbles), x=0.01, ha="left", fontsize=9, color="#555555")
    _legends(axes, bubbles, most)
    write_beside(figure, axes, places, size=11)
    return figure


def cite(bubbles: Sequence[Bubble]) -> str:
    """Returns the sources of all errors, each after its networks."""
    sources: dict[str, list[str]] = {}
    for bubble in bubbles:
        sources.setdefault(bubble.error.source, []).append(bubble.network)
    cited = [f"{', '.join(names)}: {source}" for source, names in sources.items()]
    return textwrap.fill(f"Errors of {'; '.join(cited)}.", width=170)


def _legends(axes: Axes, bubbles: Sequence[Bubble], most: int) -> None:
    """Draws the legends of colours, outlines and areas."""

    def dot(radius: float, color: str, hollow: bool = False) -> Line2D:
        return Line2D(
            [],
            [],
            marker="o",
            linestyle="",
            markersize=2 * radius,
            markeredgecolor=color,
            markerfacecolor="none" if hollow else (color, 0.45),
            markeredgewidth=1.6,
        )

    present = {family(bubble.network)[0] for bubble in bubbles}
    handles = {name: dot(6, color) for name, color in COLORS.items() if name in present}
    handles["one central crop"] = dot(6, "#555555")
    handles["ten crops, or dense"] = dot(6, "#555555", hollow=True)
    first = axes.legend(
        handles.values(), handles.keys(), loc="upper right", borderaxespad=0.8
    )
    axes.add_artist(first)  # the next call of legend would replace it
    sizes = [dot(LARGEST * math.sqrt(n * 1e6 / most), "#888888") for n in (5, 25, 140)]
    axes.legend(
        sizes,
        ["5", "25", "140 million parameters"],
        loc="upper center",
        ncols=3,
        handletextpad=0.4,
        columnspacing=1.0,
        handlelength=5.6,  # the largest is as wide
        borderpad=2.2,
    )
