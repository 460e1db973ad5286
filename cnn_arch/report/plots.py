"""The pictures of a run: what the network sees, how it learned, what it mistakes.

Every function writes one file, PNG or JPEG by its name. Names are shown as they are, in
one line, cut where they do not fit.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

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

# Column of metrics.csv, label, colour and dashes of each line in each panel.
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
def train_batch(path: Path, images: np.ndarray, names: Sequence[str]) -> None:
    """Draws the first 32 images of a training batch as the network gets them.

    Args:
      path: the file to write.
      images: uint8 [N, H, W, 1 or 3], after augmentation.
      names: the class of each.
    """
    captions = [printable(name, NAME_COLUMNS) for name in names[:32]]
    title = "What the network sees: a training batch"
    write(mosaic(title, images[:32], captions), path)


@styled
def curves(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Draws loss, error and learning rate over the epochs.

    Args:
      path: the file to write.
      rows: the rows of metrics.csv, values as numbers or text; a missing or empty value
        leaves a gap.
    """
    epochs = _column(rows, "epoch")
    figure = Figure(figsize=(12, 7), layout="constrained")
    panels = figure.subplot_mosaic("AB;CC", height_ratios=(4, 1.3))
    for axes, (title, lines) in zip(panels.values(), CURVES.items(), strict=True):
        for name, label, color, dashes in lines:
            values = _column(rows, name)
            if np.isfinite(values).any():
                axes.plot(epochs, values, dashes, color=color, label=label)
        if len(rows) <= 30:  # single epochs can be told apart
            for line in axes.lines:
                line.set(marker="o", markersize=4.5)
        axes.set(title=title, xlim=(0, 1.02 * max([2, *epochs])), ylim=(0, None))
        axes.grid(True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels["C"].set_xlabel("epoch")
    _mark_best(panels["B"], epochs, _column(rows, "validation_top1_error"))
    for axes in (panels["A"], panels["B"]):
        if axes.lines:
            axes.legend(loc="upper right")
    write(figure, path)


def _mark_best(axes: Axes, epochs: np.ndarray, errors: np.ndarray) -> None:
    if not np.isfinite(errors).any():
        return
    (best,) = np.flatnonzero(errors == np.nanmin(errors))[-1:]  # the last of equals
    label = f"best: {errors[best]:.2f} % at epoch {epochs[best]:.0f}"
    star = {"color": ORANGE, "markeredgecolor": "black", "markersize": 16}
    axes.plot(epochs[best], errors[best], "*", label=label, **star)


def _column(rows: Sequence[Mapping[str, object]], name: str) -> np.ndarray:
    values = [row.get(name) for row in rows]
    return np.array([np.nan if v in (None, "") else v for v in values], float)


@styled
def confusion(path: Path, matrix: np.ndarray, class_names: Sequence[str]) -> None:
    """Draws the share of each true class (row) that goes to each class (column).

    Args:
      path: the file to write.
      matrix: int [K, K], counts.
      class_names: K names; where all do not fit, every n-th is written.
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
    # The square root brings out the few percent that are mistakes.
    norm = PowerNorm(0.5, vmin=0, vmax=100)
    image = axes.imshow(percent, cmap="Blues", norm=norm, interpolation="nearest")
    axes.set_xticks(ticks, names, rotation=90, fontsize=font_size)
    axes.set_yticks(ticks, names, fontsize=font_size)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title("Which class is taken for which, % of the true class")
    if num_classes > 100:  # a cell is a pixel or two: dots for what is often mistaken
        often = (percent >= 5) & ~np.eye(num_classes, dtype=bool)
        rows, columns = np.nonzero(often)
        axes.scatter(columns, rows, s=0.8 * percent[often], color=ORANGE, linewidths=0)
        axes.set_title("Which class is taken for which (dots: at 5 % and more)")
    if num_classes <= 20:
        for row, column in np.argwhere(matrix):
            value = percent[row, column]
            axes.text(
                column,
                row,
                f"{value:.0f}" if value >= 1 else "<1",
                color="white" if value > 45 else "black",
                fontsize=font_size,
                horizontalalignment="center",
                verticalalignment="center",
            )
    figure.colorbar(image, ax=axes, shrink=0.6, aspect=30, ticks=(0, 1, 5, 20, 50, 100))
    write(figure, path)


@dataclasses.dataclass(frozen=True)
class Examples:
    """Images with what they are and what a network says of them."""

    images: np.ndarray  # uint8 [N, H, W, 1 or 3]
    true_names: Sequence[str]  # N
    predicted_names: Sequence[str]  # N
    probabilities: np.ndarray  # float [N], of the predicted class


@styled
def most_confused(path: Path, examples: Examples) -> None:
    """Draws mistakes, a row of at most eight for each pair of true and predicted class.

    Args:
      path: the file to write.
      examples: the mistakes.
    """
    rows: dict[tuple[str, str], list[int]] = {}
    pairs = zip(examples.true_names, examples.predicted_names, strict=True)
    for i, pair in enumerate(pairs):
        rows.setdefault(pair, []).append(i)
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
    """Draws the images with the greatest loss, the first 24 of those given.

    Args:
      path: the file to write.
      examples: the greatest loss first.
      losses: float [N].
    """
    captions = [
        f"is {printable(true_name, NAME_COLUMNS - 3)}\n"
        f"net {printable(predicted_name, NAME_COLUMNS - 4)}\n"
        f"{_percent(probability)}, loss {loss:.1f}"
        for true_name, predicted_name, probability, loss in zip(
            examples.true_names,
            examples.predicted_names,
            examples.probabilities,
            losses,
            strict=True,
        )
    ]
    title = "The greatest losses: what it is, what the network says"
    write(mosaic(title, examples.images[:24], captions[:24]), path)


@styled
def filters_conv1(path: Path, kernel: np.ndarray) -> None:
    """Draws the filters of the first layer; mid-grey is a weight of zero.

    Args:
      path: the file to write.
      kernel: float [kh, kw, 1 or 3, Cout]; each is scaled by its greatest weight.
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
    images: np.ndarray,
    names: Sequence[Sequence[str]],
    probabilities: np.ndarray,
    files: Sequence[str],
) -> None:
    """Draws images beside their most probable classes, the first 20 of those given.

    Args:
      path: the file to write.
      images: uint8 [N, H, W, 1 or 3].
      names: of each image at most five classes, the most probable first.
      probabilities: float [N, classes], theirs.
      files: N file names.
    """
    columns = 1 if len(images) == 1 else 2
    bar_left, bar_width = TILE + GAP, 4.0
    cell_width = bar_left + bar_width + 3 * GAP
    cell_height = TILE + LINE + 3 * GAP
    rows = -(-min(20, len(images)) // columns)
    figure, axes = sheet(
        "What the network sees in the pictures",
        columns * cell_width + GAP,
        TITLE + rows * cell_height,
    )
    for i in range(min(20, len(images))):
        left = GAP + (i % columns) * cell_width
        top = TITLE + (i // columns) * cell_height
        axes.text(left, top, printable(files[i], 50), va="top", fontsize=12)
        top += LINE + 0.06
        tile(axes, images[i], left, top, TILE)
        for name, probability in zip(names[i], probabilities[i], strict=True):
            start = left + bar_left
            middle = top + TILE / 10
            width = probability * bar_width
            axes.barh(middle, width, 0.24, left=start, color=PALE_BLUE)
            axes.text(start + 0.06, middle, printable(name, 28), va="center")
            end = start + bar_width
            axes.text(end, middle, _percent(probability), va="center", ha="right")
            top += TILE / 5
    write(figure, path)


def _percent(probability: float) -> str:
    return f"{100 * probability:.0f} %" if probability < 0.995 else ">99 %"
