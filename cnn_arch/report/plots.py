"""The pictures of a run: its images, its learning curves and its mistakes.

Every function writes one file; the suffix selects PNG or JPEG. Class and file names are
drawn unchanged in one line, and cut if they are too long.
"""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cnn_arch.drawing.canvas import (
    BLUE,
    GAP,
    GREEN,
    LINE,
    ORANGE,
    PALE_BLUE,
    TILE,
    TITLE,
    mosaic,
    sheet,
    styled,
    tile,
    write,
)
from cnn_arch.screen import printable

NAME_COLUMNS = 14  # characters that fit below a tile

# Panel -> its lines: column of metrics.csv, label, colour, dashes.
CURVES = {
    "Loss": (
        ("train_loss", "training", BLUE, "--"),
        ("validation_loss", "validation", ORANGE, "-"),
    ),
    "Error, %": (
        ("train_top1_error", "training, top-1", BLUE, "--"),
        ("validation_top1_error", "validation, top-1", ORANGE, "-"),
        ("validation_top5_error", "validation, top-5", GREEN, ":"),
    ),
    "Learning rate": (("learning_rate", "", BLUE, "-"),),
}


@styled
def train_batch(
    path: Path,
    title: str,
    images: np.ndarray,
    views: np.ndarray,
    names: Sequence[Sequence[tuple[str, float]]],
) -> None:
    """Draws images of a training batch, each next to its view in evaluation.

    Both are uint8 [N, H, W, 1 or 3]: the images as the network is fed, and the views of
    the same images. Below is the class of each or, if it was mixed, its classes with
    their shares; each image has equally many.
    """
    tiles = [tile for pair in zip(images, views, strict=True) for tile in pair]
    captions = []
    for parts in names:
        lines = [
            printable(name, NAME_COLUMNS)
            if len(parts) == 1
            else f"{_percent(share)} {printable(name, NAME_COLUMNS - 5)}"
            for name, share in parts
        ]
        captions += ["\n".join(lines), "in evaluation" + "\n" * (len(lines) - 1)]
    write(mosaic(title, tiles, captions), path)


@styled
def curves(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Draws loss, error and learning rate over the epochs.

    The rows come from metrics.csv, with values as numbers or text; a missing or empty
    value leaves a gap.
    """
    epochs = _column(rows, "epoch")
    # One panel below the other: also readable on a phone, which scales the page down.
    figure = Figure(figsize=(7.5, 10), layout="constrained")
    panels = figure.subplot_mosaic("A;B;C", height_ratios=(4, 4, 2))
    for axes, (title, lines) in zip(panels.values(), CURVES.items(), strict=True):
        for name, label, color, dashes in lines:
            values = _column(rows, name)
            if np.isfinite(values).any():
                axes.plot(epochs, values, dashes, color=color, label=label)
        if len(rows) <= 30:  # there is room for a marker at each epoch
            for line in axes.lines:
                line.set(marker="o", markersize=4.5 if len(rows) > 1 else 9)
        axes.set(title=title, xlim=(0, 1.02 * max([2, *epochs])))
        axes.set_ylim(0, max(axes.dataLim.y1 * 1.08, 1e-9))  # no point is cut
        axes.grid(True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels["C"].set_xlabel("epoch")
    _mark_best(panels["B"], epochs, _column(rows, "validation_top1_error"))
    for axes in (panels["A"], panels["B"]):
        if axes.lines:  # beside the title, where there are no points
            place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0}
            axes.legend(ncols=2, fontsize=11, **place)
    write(figure, path)


@styled
def rates(path: Path, places: np.ndarray, rates: np.ndarray, *, unit: str) -> None:
    """Draws the learning rate over a run; the places are in epochs or in steps."""
    figure = Figure(figsize=(7.5, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(places, rates, color=BLUE)
    axes.set(title="Learning rate", xlabel=unit, ylim=(0, 1.08 * rates.max()))
    axes.grid(True)
    write(figure, path)


def _mark_best(axes: Axes, epochs: np.ndarray, errors: np.ndarray) -> None:
    if not np.isfinite(errors).any():
        return
    best = np.flatnonzero(errors == np.nanmin(errors))[-1]  # the last of equals
    label = f"best: {errors[best]:.2f} % at epoch {epochs[best]:.0f}"
    star = {"color": ORANGE, "markeredgecolor": "black", "markersize": 16}
    axes.plot(epochs[best], errors[best], "*", label=label, **star)


def _column(rows: Sequence[Mapping[str, object]], name: str) -> np.ndarray:
    values = [row.get(name) for row in rows]
    return np.array([np.nan if v in (None, "") else v for v in values], float)


@styled
def confusion(path: Path, matrix: np.ndarray, class_names: Sequence[str]) -> None:
    """Draws the percentage of each true class (row) in each predicted class (column).

    ``matrix`` is int [K, K], counts. If the K names do not fit, every n-th is drawn.
    """
    num_classes = len(matrix)
    percent = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(0.62 * num_classes, 4, 11))  # inches
    cell_points = 72 * side / num_classes
    font_size = float(np.clip(0.8 * cell_points, 6.5, 13))
    stride = int(np.ceil(1.2 * font_size / cell_points))
    ticks = range(0, num_classes, stride)
    names = [printable(class_names[tick], 20) for tick in ticks]

    names_inches = max(len(name) for name in names) * 0.6 * font_size / 72
    size = (side + names_inches + 2, side + names_inches + 1.3)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    # With the square root, mistakes of a few percent become visible.
    norm = PowerNorm(0.5, vmin=0, vmax=100)
    image = axes.imshow(percent, cmap="Blues", norm=norm, interpolation="nearest")
    axes.set_xticks(ticks, names, rotation=90, fontsize=font_size)
    axes.set_yticks(ticks, names, fontsize=font_size)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title("Which class is taken for which, % of the true class")
    if num_classes > 100:  # cells are one or two pixels: dots show frequent mistakes
        often = (percent >= 5) & ~np.eye(num_classes, dtype=bool)
        rows, columns = np.nonzero(often)
        axes.scatter(columns, rows, s=0.8 * percent[often], color=ORANGE, linewidths=0)
        axes.set_title("Which class is taken for which (dots: 5 % and more)")
    if num_classes <= 20:
        centred = {"fontsize": font_size, "ha": "center", "va": "center"}
        for row, column in np.argwhere(matrix):
            value = percent[row, column]
            text = f"{value:.0f}" if value >= 1 else "<1"
            color = "white" if value > 45 else "black"
            axes.text(column, row, text, color=color, **centred)
    figure.colorbar(image, ax=axes, shrink=0.6, aspect=30, ticks=(0, 1, 5, 20, 50, 100))
    write(figure, path)


@dataclasses.dataclass(frozen=True)
class Examples:
    """Images with their true classes and a network's predictions."""

    images: np.ndarray  # uint8 [N, H, W, 1 or 3]
    true_names: Sequence[str]  # N
    predicted_names: Sequence[str]  # N
    probabilities: np.ndarray  # float [N], of the predicted class


@styled
def most_confused(path: Path, examples: Examples) -> None:
    """Draws mistakes: a row of at most 8 for each pair of true and predicted class."""
    rows: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    pairs = zip(examples.true_names, examples.predicted_names, strict=True)
    for i, pair in enumerate(pairs):
        rows[pair].append(i)
    row_height = 0.3 + TILE + LINE + 2 * GAP
    columns = max([6, *(min(8, len(members)) for members in rows.values())])
    figure, axes = sheet(
        "The most frequent mistakes, and how sure the network was of them",
        columns * (TILE + GAP) + GAP,
        TITLE + max(len(rows) * row_height, 0.5),
    )
    for i, (pair, members) in enumerate(rows.items()):
        top = TITLE + i * row_height
        true_name, predicted_name = (printable(name, 34) for name in pair)
        header = f"{true_name}  taken for  {predicted_name}"
        axes.text(GAP, top, header, va="top", weight="bold")
        for column, member in enumerate(members[:8]):
            left = GAP + column * (TILE + GAP)
            tile(axes, examples.images[member], left, top + 0.3, TILE)
            caption = _percent(examples.probabilities[member])
            axes.text(left, top + 0.34 + TILE, caption, va="top", fontsize=12)
    if not rows:
        axes.text(GAP, TITLE, "No mistake was made.", va="top")
    write(figure, path)


@styled
def top_losses(path: Path, examples: Examples, losses: np.ndarray) -> None:
    """Draws the first 24 examples, sorted by loss, the greatest first."""
    captions = []
    for i, loss in enumerate(losses[:24]):
        true_name = printable(examples.true_names[i], NAME_COLUMNS - len("is "))
        predicted = printable(examples.predicted_names[i], NAME_COLUMNS - len("net "))
        percent = _percent(examples.probabilities[i])
        captions.append(f"is {true_name}\nnet {predicted}\n{percent}, loss {loss:.1f}")
    title = "The greatest losses: the true class, and the answer of the network"
    write(mosaic(title, examples.images[:24], captions), path)


@styled
def filters_conv1(path: Path, kernel: np.ndarray) -> None:
    """Draws the filters of the first layer; mid-grey is a weight of zero.

    Each filter of the kernel, float [kh, kw, 1 or 3, Cout], is scaled by its largest
    absolute weight.
    """
    height, width, channels, num_filters = kernel.shape
    greatest = np.abs(kernel).max(axis=(0, 1, 2))
    shades = 127.5 * (1 + kernel / np.where(greatest > 0, greatest, 1))
    images = shades.round().astype(np.uint8).transpose(3, 0, 1, 2)
    columns = int(np.clip(np.ceil(np.sqrt(num_filters)), min(8, num_filters), 16))
    title = (
        f"First layer: {num_filters} filters of {height} x {width} x {channels} "
        "(grey is 0)"
    )
    captions = [""] * num_filters
    write(mosaic(title, images, captions, columns, size=10 / columns), path)


@styled
def predictions(
    path: Path,
    pictures: Sequence[tuple[str, np.ndarray]],
    answers: Sequence[Sequence[Mapping[str, Any]]],
) -> None:
    """Draws files and their images next to their most probable classes.

    The images are uint8 [H, W, 1 or 3]. Each answer has at most five classes, the most
    probable first: ``{"class": ..., "probability": ...}``.
    """
    columns = 1 if len(pictures) == 1 else 2
    bar_left, bar_width = TILE + GAP, 4.0
    cell_width = bar_left + bar_width + 3 * GAP
    cell_height = TILE + LINE + 3 * GAP
    rows = math.ceil(len(pictures) / columns)
    figure, axes = sheet(
        "What the network sees in the pictures",
        columns * cell_width + GAP,
        TITLE + rows * cell_height,
    )
    for i, (file, image) in enumerate(pictures):
        left = GAP + (i % columns) * cell_width
        top = TITLE + (i // columns) * cell_height
        axes.text(left, top, printable(file, 50), va="top", fontsize=12)
        top += LINE + 0.06
        tile(axes, image, left, top, TILE)
        for answer in answers[i]:
            probability = answer["probability"]
            start = left + bar_left
            middle = top + TILE / 10
            width = probability * bar_width
            axes.barh(middle, width, 0.24, left=start, color=PALE_BLUE)
            name = printable(answer["class"], 28)
            axes.text(start + 0.06, middle, name, va="center")
            end = start + bar_width
            axes.text(end, middle, _percent(probability), va="center", ha="right")
            top += TILE / 5
    write(figure, path)


def _percent(probability: float) -> str:
    return f"{100 * probability:.0f} %" if probability < 0.995 else ">99 %"
