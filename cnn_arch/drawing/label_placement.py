"""Labels next to the points of a chart, placed without overlaps."""

import dataclasses
import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox, BboxBase

Disc = tuple[float, float, float]  # x, y and radius, points


def write_beside(
    figure: Figure,
    axes: Axes,
    places: Sequence[tuple[float, float, float, str]],
    size: float,
) -> None:
    """Writes names next to points where there is room; a line leads to distant names.

    The axes must have their final limits and legends. Each place is x, y, the radius in
    points, and the name; ``size`` is the font size.
    """
    figure.draw_without_rendering()  # fixes the layout, and so the pixels of the points
    pixel = figure.dpi / 72  # px in a point
    discs: list[Disc] = []
    for x, y, radius, _ in places:
        left, bottom = axes.transData.transform((x, y)) / pixel
        discs.append((left, bottom, radius))
    legends = [child for child in axes.get_children() if isinstance(child, Legend)]
    taken = [legend.get_window_extent() for legend in legends]
    room = _Room(discs, taken, axes.bbox, pixel)
    for (x, y, _, text), disc in zip(places, discs, strict=True):
        label = axes.annotate(
            text,
            xy=(x, y),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=size,
            path_effects=[withStroke(linewidth=3, foreground="white", alpha=0.8)],
            zorder=5,
        )
        extent = label.get_window_extent()
        candidates = _candidates(disc, extent.width / pixel, extent.height / pixel)
        box, distance = min(candidates, key=lambda place: room.cost(place, disc))
        taken.append(_scaled(box, pixel))
        offset = ((box.x0 + box.x1) / 2 - disc[0], (box.y0 + box.y1) / 2 - disc[1])
        label.set_position(offset)
        if distance > 8:
            axes.annotate(
                "",
                xy=(x, y),
                xytext=offset,
                textcoords="offset points",
                arrowprops={
                    "arrowstyle": "-",
                    "color": "#777777",
                    "linewidth": 0.8,
                    "shrinkA": 7,
                    "shrinkB": min(disc[2], 4),
                },
            )


def _scaled(box: BboxBase, factor: float) -> Bbox:
    return Bbox(box.get_points() * factor)


def _candidates(
    disc: Disc, width: float, height: float
) -> Iterator[tuple[Bbox, float]]:
    """Yields boxes around a disc, in points, each with its distance from the rim."""
    x, y, radius = disc
    yield Bbox.from_bounds(x - width / 2, y - height / 2, width, height), 0.0
    for distance in (4.0, 10.0, 18.0, 30.0, 45.0, 60.0, 80.0):
        for step in range(24):  # 15 degrees each
            cosine = math.cos(step * math.pi / 12)
            sine = math.sin(step * math.pi / 12)
            left = x + (radius + distance) * cosine + width / 2 * (cosine - 1)
            bottom = y + (radius + distance) * sine + height / 2 * (sine - 1)
            yield Bbox.from_bounds(left, bottom, width, height), distance


@dataclasses.dataclass
class _Room:
    """The room for names in a chart."""

    discs: Sequence[Disc]  # the points of the chart
    taken: list[Bbox]  # names and legends, px
    area: Bbox  # of the axes, px
    pixel: float  # px in a point

    def cost(self, place: tuple[Bbox, float], own: Disc) -> float:
        """Returns the cost of overlaps, parts outside, covered discs and distance."""
        box, distance = place
        inside = _scaled(box.padded(1.5), self.pixel)
        cost = distance
        if box.x0 < own[0]:  # prefers the right side
            cost += 3
        cost += 1e6 * sum(inside.overlaps(other) for other in self.taken)
        corners = inside.get_points()
        cost += 1e6 * (not all(self.area.contains(x, y) for x, y in corners))
        half = math.hypot(box.width, box.height) / 2
        for disc in self.discs:
            x, y, radius = disc
            gap_x = max(box.x0 - x, x - box.x1, 0)
            gap_y = max(box.y0 - y, y - box.y1, 0)
            fits_inside = disc == own and radius > 1.05 * half
            if math.hypot(gap_x, gap_y) < radius and not fits_inside:
                cost += 25
        return cost
