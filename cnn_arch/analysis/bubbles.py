"""The chart of error against operations, with parameters as area.

After A. Canziani, E. Culurciello, A. Paszke, "An Analysis of Deep Neural Network Models
for Practical Applications", 2017, https://arxiv.org/abs/1605.07678, Figure 2; here with
sourced errors and counted operations.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox, BboxBase

from cnn_arch.analysis.published import (
    ONE_CROP,
    PublishedError,
    family,
    published_errors,
)
from cnn_arch.report.canvas import BLUE, GREEN, ORANGE, styled

# Okabe and Ito's colours: told apart by colour-blind readers.
COLORS = {
    "AlexNet": ORANGE,
    "VGG": BLUE,
    "Inception": GREEN,
    "ResNet": "#CC79A7",
    "Plain": "#56B4E9",
    "NiN": "#E69F00",
    "LeNet": "#000000",
}
LARGEST = 36.0  # radius of the largest bubble, points


@dataclasses.dataclass(frozen=True)
class Bubble:
    """A network in the chart: its costs and the error that compares best.

    Attributes:
      network: its name.
      macs: multiply-adds of one image.
      params: learnable numbers.
      top1: error, percent.
      error: with protocol and source.
    """

    network: str
    macs: int
    params: int
    top1: float
    error: PublishedError


def find_bubbles(
    costs: Mapping[str, Mapping[str, int]], dataset: str = "ImageNet"
) -> list[Bubble]:
    """Returns the networks with a published top-1 error.

    Args:
      costs: ``costs.totals`` of each network.
      dataset: where the error was measured.
    """
    bubbles = []
    for network, total in costs.items():
        for error in published_errors(network, dataset):
            if error.top1 is not None:
                cost = total["macs"], total["params"]
                bubbles.append(Bubble(network, *cost, error.top1, error))
                break  # the first compares best
    return bubbles


@styled
def error_against_operations(bubbles: Sequence[Bubble]) -> Figure:
    """Draws the chart.

    Filled bubbles: one central crop. Hollow ones: more of each image was seen.
    """
    figure = Figure(figsize=(13.3, 8), layout="constrained")
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
    for index in order:  # small ones last, in front of large ones
        bubble = bubbles[index]
        color = COLORS[family(bubble.network)[0]]
        x, y = bubble.macs / 1e9, bubble.top1
        filled = bubble.error.protocol == ONE_CROP
        axes.scatter(
            *(x, y, (2 * radii[index]) ** 2),
            facecolors=(color, 0.45) if filled else "none",
            edgecolors=color,
            linewidths=1.6,
            linestyles="-" if filled else (0, (3, 2)),
        )
        places.append((x, y, radii[index], bubble.network))
    xs = [place[0] for place in places]
    ys = [place[1] for place in places]
    axes.set_xlim(-0.9, max(xs) + 1.6)
    axes.set_ylim(min(ys) - 2, max(ys) + 3)
    _legends(axes, bubbles, most)
    write_beside(figure, axes, places)
    return figure


def _legends(axes: Axes, bubbles: Sequence[Bubble], most: int) -> None:
    """Says what colours, outlines and areas mean."""

    def dot(radius: float, color: str, hollow: bool = False) -> Line2D:
        return Line2D(
            *([], []),
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
    axes.add_artist(first)
    sizes = [dot(LARGEST * math.sqrt(n * 1e6 / most), "#888888") for n in (5, 25, 140)]
    axes.legend(
        *(sizes, ["5", "25", "140 million parameters"]),
        loc="upper center",
        ncols=3,
        handletextpad=0.4,
        columnspacing=1.0,
        handlelength=5.6,  # the largest is as wide
        borderpad=2.2,
    )


def write_beside(
    figure: Figure, axes: Axes, places: Sequence[tuple[float, float, float, str]]
) -> None:
    """Writes names beside points where there is room, with a line to those far off.

    Args:
      figure: that of the axes.
      axes: with their final limits and legends.
      places: x, y, the radius in points and the name of each.
    """
    figure.draw_without_rendering()  # fixes the layout, and so where points are
    pixel = figure.dpi / 72  # px in a point
    legends = [child for child in axes.get_children() if isinstance(child, Legend)]
    taken = [legend.get_window_extent() for legend in legends]
    discs = [
        (*(axes.transData.transform((x, y)) / pixel), radius)
        for x, y, radius, _ in places
    ]
    for (x, y, _, text), disc in zip(places, discs, strict=True):
        label = axes.annotate(
            *(text, (x, y), (0, 0)),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=11,
            zorder=5,
        )
        size = label.get_window_extent()
        box, distance = min(
            _candidates(disc, size.width / pixel, size.height / pixel),
            key=lambda place: _cost(place, disc, discs, taken, axes.bbox, pixel),
        )
        taken.append(_scaled(box, pixel))
        offset = ((box.x0 + box.x1) / 2 - disc[0], (box.y0 + box.y1) / 2 - disc[1])
        label.set_position(offset)
        if distance > 8:
            axes.annotate(
                *("", (x, y), offset),
                textcoords="offset points",
                arrowprops={
                    **{"arrowstyle": "-", "color": "#777777", "linewidth": 0.8},
                    **{"shrinkA": 7, "shrinkB": min(disc[2], 4)},
                },
            )


def _scaled(box: BboxBase, factor: float) -> Bbox:
    return Bbox(box.get_points() * factor)


def _candidates(
    disc: tuple[float, float, float], width: float, height: float
) -> Iterator[tuple[Bbox, float]]:
    """Yields boxes around a disc, points, each with its distance from the rim."""
    x, y, radius = disc
    yield Bbox.from_bounds(x - width / 2, y - height / 2, width, height), 0.0
    for distance in (4.0, 10.0, 18.0, 30.0, 45.0, 60.0, 80.0):
        for step in range(24):
            cosine = math.cos(step * math.pi / 12)
            sine = math.sin(step * math.pi / 12)
            left = x + (radius + distance) * cosine + width / 2 * (cosine - 1)
            bottom = y + (radius + distance) * sine + height / 2 * (sine - 1)
            yield Bbox.from_bounds(left, bottom, width, height), distance


def _cost(
    place: tuple[Bbox, float],
    own: tuple[float, float, float],
    discs: Sequence[tuple[float, float, float]],
    taken: Sequence[Bbox],
    area: Bbox,
    pixel: float,
) -> float:
    """Returns how bad a place is: on a name, outside, on discs, far away."""
    box, distance = place
    inside = _scaled(box.padded(1.5), pixel)
    cost = distance + 0.0
    cost += 1e6 * sum(inside.overlaps(other) for other in taken)
    corners = inside.get_points()
    cost += 1e6 * (not all(area.contains(x, y) for x, y in corners))
    for disc in discs:
        x, y, radius = disc
        gap_x = max(box.x0 - x, x - box.x1, 0)
        gap_y = max(box.y0 - y, y - box.y1, 0)
        if math.hypot(gap_x, gap_y) < radius:
            fits = disc == own and radius > 1.05 * math.hypot(box.width, box.height) / 2
            cost += 0 if fits else 25
    return cost
