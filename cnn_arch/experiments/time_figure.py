"""The figure of times: the time of an image against operations, the error against it.

After Canziani et al. 2016, "An Analysis of Deep Neural Network Models for Practical
Applications" (https://arxiv.org/abs/1605.07678). The discs have the parameters as area,
and the families' colours are those of the catalogue's chart of errors.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cnn_arch.catalogue.error_chart import COLORS
from cnn_arch.catalogue.published import family
from cnn_arch.drawing.label_placement import write_beside
from cnn_arch.experiments import measures, record, rules
from cnn_arch.experiments.plan import Experiment

LEGEND = 5, 25, 140  # million parameters
RADIUS = 2.2  # points, of a disc of a million parameters: 26 of 140 million
NEEDED = "macs", "parameters", "published_error"  # beside the first measure, the time


class _Disc(NamedTuple):
    name: str
    x: float
    y: float
    radius: float  # points
    color: str


def draw(figure: Figure, experiment: Experiment, found: record.Record) -> None:
    """Draws both panels; ``NEEDED`` and, as the first, the time must be measured."""
    numbers = record.numbers(found)
    time = experiment.measures[0]
    means: dict[str, dict[str, float]] = {}
    for name, own in numbers.items():
        if own.get(time):
            taken = (time, *NEEDED)
            means[name] = {
                key: rules.interval(own[key])[0] for key in taken if own.get(key)
            }
    left, right = figure.subplots(1, 2)
    panels: list[tuple[Axes, list[_Disc]]] = []
    for axes, x, y in ((left, "macs", time), (right, time, "published_error")):
        discs = [
            _Disc(
                name,
                of[x],
                of[y],
                RADIUS * math.sqrt(of["parameters"] / 1e6),
                COLORS[family(name)[0]],
            )
            for name, of in means.items()
            if y in of
        ]
        axes.set(xlabel=measures.with_unit(x), ylabel=measures.with_unit(y))
        _draw(axes, discs)
        panels.append((axes, discs))
    present = dict.fromkeys(family(name)[0] for name in means)
    handles = [_handle(6, COLORS[name], name) for name in present]
    figure.legend(handles=handles, loc="outside right upper")
    handles = [
        _handle(RADIUS * math.sqrt(million), "#888888", f"{million}")
        for million in LEGEND
    ]
    figure.legend(
        handles=handles,
        title="million parameters",
        loc="outside lower center",
        ncols=len(LEGEND),
        handlelength=4.5,  # the largest is as wide
        borderpad=1.2,
    )
    for axes, discs in panels:  # when all legends are there, so the layout is final
        _name(figure, axes, discs)


def _draw(axes: Axes, discs: Sequence[_Disc]) -> None:
    """Draws the discs of a panel, the small ones in front."""
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    for disc in sorted(discs, key=lambda disc: -disc.radius):
        size, color = (2 * disc.radius) ** 2, (disc.color, 0.45)
        style = {"facecolors": color, "edgecolors": disc.color, "linewidths": 1.6}
        axes.scatter(disc.x, disc.y, s=size, **style)
    axes.margins(0.14)


def _name(figure: Figure, axes: Axes, discs: Sequence[_Disc]) -> None:
    places = [(disc.x, disc.y, disc.radius, disc.name) for disc in discs]
    if places:
        write_beside(figure, axes, places, size=11)


def _handle(radius: float, color: str, label: str) -> Line2D:
    return Line2D(
        [],
        [],
        marker="o",
        linestyle="",
        markersize=2 * radius,
        markeredgecolor=color,
        markerfacecolor=(color, 0.45),
        label=label,
    )
