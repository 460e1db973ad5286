"""The figures of experiments, made for a slide of a lecture."""

import dataclasses
import math
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from cnn_arch.drawing import canvas
from cnn_arch.experiments import measures, record, rules, time_figure
from cnn_arch.experiments.plan import Experiment

COLORS = (
    canvas.BLUE,
    canvas.ORANGE,
    canvas.GREEN,
    canvas.PURPLE,
    canvas.SKY,
    canvas.YELLOW,
    canvas.GREY,
    "black",
)


@canvas.styled
def draw(experiment: Experiment, found: record.Record, folder: Path) -> list[Path]:
    """Draws the figure of an experiment as ``figure.png`` and ``figure.svg``."""
    figure = Figure(figsize=(canvas.WIDTH, 7.0), layout="constrained")
    claim = experiment.claim.replace(" %", "\N{NO-BREAK SPACE}%")
    title = "\n".join(textwrap.wrap(claim, 100, break_on_hyphens=False))
    verdict, _ = rules.decide(experiment.rule, record.numbers(found))
    figure.suptitle(f"{title}\nHere: {verdict}", x=0.01, ha="left")
    FIGURES[experiment.figure](figure, *only_drawn(experiment, found))
    return canvas.write_slide(figure, folder, "figure")


def only_drawn(
    experiment: Experiment, found: record.Record
) -> tuple[Experiment, record.Record]:
    """Returns an experiment and its record without variants that are not drawn."""
    if not experiment.drawn:
        return experiment, found
    variants = {name: experiment.variants[name] for name in experiment.drawn}
    shown = dataclasses.replace(experiment, variants=variants)
    return shown, record.only(found, experiment.drawn)


def _lines(experiment: Experiment) -> Mapping[str, dict[str, Any]]:
    """Returns the colour and the kind of each variant's line.

    If there are more variants than colours, the second half has the colours of the
    first, and dashed lines.
    """
    names = list(experiment.variants)
    half = len(names) if len(names) <= len(COLORS) else math.ceil(len(names) / 2)
    return {
        name: {
            "color": COLORS[place % half],
            "linestyle": "-" if place < half else "--",
        }
        for place, name in enumerate(names)
    }


def curves(figure: Figure, experiment: Experiment, found: record.Record) -> None:
    """Draws the training and the validation error by epoch; bands show all seeds.

    Runs of one epoch have no curve: their measures are drawn as dots.
    """
    drawn = record.curves(found)
    if all(len(run) < 2 for runs in drawn.values() for run in runs):
        dots(figure, experiment, found)
        return
    panels = figure.subplots(1, 2, sharey=True)
    lines = _lines(experiment)
    for variant, runs in drawn.items():
        length = min(map(len, runs))  # early stopping may end a run sooner
        epochs, *errors = np.moveaxis(np.array([run[:length] for run in runs]), 2, 0)
        marker = "o" if length < 3 else None  # a line needs two points
        for axes, values in zip(panels, errors, strict=True):
            style = {**lines[variant], "label": variant, "marker": marker}
            axes.plot(epochs[0], values.mean(axis=0), **style)
            low, high = values.min(axis=0), values.max(axis=0)
            color = style["color"]
            axes.fill_between(epochs[0], low, high, color=color, alpha=0.2, linewidth=0)
    for axes, name in zip(panels, ("training", "validation"), strict=True):
        axes.set_title(f"{name} error")
        axes.set_xlabel("epoch")
        axes.grid(visible=True)
    panels[0].set_ylabel("error, %")
    panels[1].legend()


def dots(figure: Figure, experiment: Experiment, found: record.Record) -> None:
    """Draws each measure of each run, with means and 95 % intervals; arrows: over."""
    taken = experiment.measured(found["size"])
    panels = figure.subplots(1, len(taken), sharey=True, squeeze=False)[0]
    numbers, lines = record.numbers(found), _lines(experiment)
    names = [variant for variant in experiment.variants if variant in numbers]
    for axes, measure in zip(panels, taken, strict=True):
        for place, variant in enumerate(names):
            values = numbers[variant].get(measure, [])
            color = lines[variant]["color"]
            if not values:
                continue
            bounds = [x.least for x in values if isinstance(x, rules.Bound)]
            plain = [x for x in values if not isinstance(x, rules.Bound)]
            mean, low, high = measures.interval(measure, values)
            if np.isfinite(low):
                axes.plot([low, high], [place, place], color=color, alpha=0.5)
            axes.plot(mean, place, "|", color=color, markersize=26, markeredgewidth=3)
            axes.plot(plain, [place] * len(plain), "o", color=color, markersize=9)
            # An arrow to the right: at least so much.
            axes.plot(bounds, [place] * len(bounds), ">", color=color, markersize=9)
        axes.set_xlabel(measures.with_unit(measure))
        axes.grid(visible=True, axis="x")
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)


def against(figure: Figure, experiment: Experiment, found: record.Record) -> None:
    """Draws the measures that have an axis: thin lines are runs or groups, thick means.

    A line joins numbers of the same networks.
    """
    axes = figure.subplots()
    lines = _lines(experiment)
    taken = experiment.measured(found["size"])
    shown = [each for each in taken if measures.axis_of(each)]
    places = measures.places(shown)
    for variant, numbers in record.numbers(found).items():
        keys = [each for each in shown if numbers.get(each)]
        own = [places[each] for each in keys]
        values = np.array([numbers[each] for each in keys], float)  # [places, runs]
        style = lines[variant]
        axes.plot(own, values, **style, alpha=0.4, linewidth=1)
        mean = values.mean(axis=1)
        axes.plot(own, mean, **style, marker="o", markersize=9, label=variant)
    axis = measures.axis_of(shown[0])
    assert axis, "the first of those that have one"
    axes.set(xlabel=axis.label, ylabel=axis.values, xscale=axis.scale)
    axes.set_xticks([*places.values()], [measures.tick(each) for each in shown])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(visible=True)
    axes.legend()


def layers(figure: Figure, experiment: Experiment, found: record.Record) -> None:
    """Draws each series by depth, as lines of the mean; bands show all seeds."""
    panels = figure.subplots(1, len(experiment.series), sharey=True, squeeze=False)[0]
    lines = _lines(experiment)
    for axes, key in zip(panels, experiment.series, strict=True):
        for variant, runs in record.series(found, key).items():
            values = np.array([list(run.values()) for run in runs])
            depth = np.linspace(0, 1, values.shape[1])
            style = lines[variant]
            color = style["color"]
            axes.plot(depth, values.mean(axis=0), **style, label=variant)
            low, high = values.min(axis=0), values.max(axis=0)
            axes.fill_between(depth, low, high, color=color, alpha=0.2, linewidth=0)
        axes.set(xlabel="depth: 0 is the first layer, 1 the last", yscale="log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_title(measures.label(key))
        axes.grid(visible=True)
    handles, names = panels[0].get_legend_handles_labels()
    columns = min(4, len(names))
    figure.legend(handles, names, loc="outside lower center", ncols=columns)


FIGURES: Mapping[str, Callable[[Figure, Experiment, record.Record], None]] = {
    "against": against,
    "curves": curves,
    "dots": dots,
    "layers": layers,
    "times": time_figure.draw,
}
