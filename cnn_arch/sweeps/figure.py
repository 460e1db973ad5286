"""The pictures of a sweep: error against each setting, and all settings at once."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from cnn_arch.drawing.canvas import BLUE, ORANGE, styled, write
from cnn_arch.screen import printable
from cnn_arch.sweeps.results import ERROR
from cnn_arch.sweeps.space import short

LOG_FACTOR = 8.0  # largest value / smallest value, from which an axis is logarithmic
NUM_TICKS = 7  # up to this number of values, each one gets a tick
NUM_COLUMNS = 3  # panels in a row
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}

Rows = Sequence[Mapping[str, Any]]  # of results.csv


@styled
def errors(path: Path, rows: Rows, keys: Sequence[str]) -> None:
    """Draws the lowest validation error of each trial against each setting.

    Rows without an error are left out. ``keys`` are the settings that differ.
    """
    rows = [row for row in rows if row[ERROR] is not None]
    columns = min(NUM_COLUMNS, len(keys))
    lines = -(-len(keys) // columns)
    size = (max(7, 4.6 * columns), 4.6 * lines)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axes in panels[:, 0]:
        axes.set_ylabel("validation error, %")
    panels = panels.flatten()
    first = panels[0]
    if rows and _is_log([row[ERROR] for row in rows]):  # some diverge, others are close
        _make_log(first, "y")
    ended = [row for row in rows if row["state"] == "done"]
    others = [row for row in rows if row["state"] != "done"]
    best = min(ended, key=lambda row: row[ERROR], default=None)
    for axes, key in zip(panels, keys, strict=False):
        place = _scale(axes, [row[key] for row in rows])
        for group, label, face in (
            (ended, "to the end", BLUE),
            (others, "stopped sooner", "none"),
        ):
            where = [place(row[key]) for row in group]
            heights = [row[ERROR] for row in group]
            style = {"color": BLUE, "markerfacecolor": face, "markersize": 8}
            if group:
                axes.plot(where, heights, "o", label=label, **style)
        if best:
            label = f"best: {best[ERROR]:.2f} %, {best['trial']}"
            style = {"color": ORANGE, "markeredgecolor": "black", "markersize": 16}
            axes.plot(place(best[key]), best[ERROR], "*", label=label, **style)
        axes.set_xlabel(printable(key, 40))
        axes.grid(True)
    for axes in panels[len(keys) :]:
        axes.set_axis_off()
    figure.suptitle("Error of each trial against what was varied", x=0.01, ha="left")
    if first.lines:
        lines_and_names = first.get_legend_handles_labels()
        figure.legend(*lines_and_names, loc="outside lower left", ncols=3)
    write(figure, path)


@styled
def parallel(path: Path, rows: Rows, keys: Sequence[str]) -> None:
    """Draws each trial as a line through its settings to its error.

    Rows without an error are left out. ``keys`` are the settings that differ.
    """
    rows = [row for row in reversed(rows) if row[ERROR] is not None]
    # The best finished trial comes last, in front; among equals, the first in the file.
    rows.sort(key=lambda row: (row["state"] == "done", -row[ERROR]))
    names = [*keys, ERROR]
    figure = Figure(figsize=(max(8, 2.6 * len(names)), 5.6), layout="constrained")
    main = figure.add_subplot()
    main.set(xlim=(-0.05, len(names) - 0.95), ylim=(-0.05, 1.05))
    main.set_axis_off()
    heights = []
    for number, name in enumerate(names):
        is_error = name == ERROR
        positions, ticks = _positions(
            [row[name] for row in rows], 1 if is_error else NUM_TICKS
        )
        heights.append(positions)
        main.axvline(number, 0.045, 0.955, color="black", linewidth=1)
        for height, text in ticks:
            style = {"va": "center", "bbox": LABEL_BOX, "zorder": 5}
            style["ha"] = "left" if is_error else "right"
            side = 0.02 if is_error else -0.02
            main.text(number + side, height, printable(text, 16), **style)
        title = "validation error, %" if is_error else printable(name, 26)
        main.text(number, 1.09, title, ha="center", va="bottom")
    colors = matplotlib.colormaps["viridis"]
    for index, row in enumerate(rows):
        is_best = index == len(rows) - 1
        main.plot(
            range(len(names)),
            [height[index] for height in heights],
            color=ORANGE if is_best else colors(0.85 * heights[-1][index]),
            linewidth=3.5 if is_best else 1.8,
            linestyle="-" if row["state"] == "done" else ":",
            zorder=3 if is_best else 1,
        )
    title = "Each line is a trial (dotted: stopped sooner; thick: the best)"
    main.set_title(title, pad=44)
    write(figure, path)


def _is_number(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _is_log(values: Sequence[Any]) -> bool:
    return min(values) > 0 and max(values) >= LOG_FACTOR * min(values)


def _make_log(axes: Axes, name: str) -> None:
    """Makes an axis, x or y, logarithmic, with ticks at 1 and 3 of each decade."""
    axes.set(**{f"{name}scale": "log"})
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:g}")


def _scale(axes: Axes, values: Sequence[Any]) -> Callable[[Any], float]:
    """Sets the x axis for values; returns the function from a value to its x."""
    unique = _unique(values)
    if not unique or not _is_number(unique):
        axes.set_xticks(range(len(unique)), [printable(str(v), 16) for v in unique])
        axes.set_xlim(-0.5, max(len(unique), 1) - 0.5)
        return lambda value: unique.index(_hashable(value))
    if _is_log(unique):
        _make_log(axes, "x")
    if len(unique) <= NUM_TICKS:
        axes.set_xticks(unique, [short(value) for value in unique])
    return lambda value: value


def _positions(
    values: Sequence[Any], num_ticks: int = NUM_TICKS
) -> tuple[list[float], list[tuple[float, str]]]:
    """Returns a height from 0 to 1 for each value, and the ticks: height and text.

    Up to ``num_ticks`` values get a tick each; more values get ticks at even heights.
    """
    unique = _unique(values)
    if not unique or not _is_number(unique):
        step = 1 / max(len(unique) - 1, 1)
        heights = [unique.index(_hashable(value)) * step for value in values]
        return heights, [(n * step, str(value)) for n, value in enumerate(unique)]
    change, inverse = (np.log, np.exp) if _is_log(unique) else (np.asarray, np.asarray)
    low, high = float(change(min(unique))), float(change(max(unique)))
    heights = [(float(change(v)) - low) / ((high - low) or 1) for v in values]
    if len(unique) <= num_ticks:
        ticks = list(zip(heights, map(short, values), strict=True))
    else:
        ends = np.linspace(low, high, 5)
        ticks = [(n / 4, f"{inverse(v):.2g}") for n, v in enumerate(ends)]
    return heights, list(dict.fromkeys(ticks))


def _unique(values: Sequence[Any]) -> list[Any]:
    return list(dict.fromkeys(map(_hashable, values)))


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
