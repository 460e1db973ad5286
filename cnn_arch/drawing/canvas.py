"""The shared parts of pictures: style, sheets of image tiles, writing a file."""

import math
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from cnn_arch.files import replacing

# Okabe and Ito, "Color Universal Design" (2008): colour-blind readers can distinguish
# these colours.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, YELLOW, SKY = "#CC79A7", "#E69F00", "#56B4E9"
PALE_BLUE, GREY = "#B9DDF1", "#767676"
WIDTH = 13.3  # inches of a slide

# DejaVu comes with matplotlib; the others, if installed, draw East Asian characters.
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "PingFang SC")
FONTS += ("Hiragino Sans", "Microsoft YaHei", "Malgun Gothic")

STYLE: dict[Any, Any] = {
    "font.family": [font for font in FONTS if font in fontManager.get_font_names()],
    "font.size": 13,
    "axes.titlesize": 15,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.h_pad": 0.12,
    "figure.constrained_layout.w_pad": 0.12,
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    "lines.linewidth": 2.2,
    "savefig.dpi": 120,
    "svg.hashsalt": "cnn_arch",  # fixes the ids in the file, which are random otherwise
    "text.parse_math": False,  # the class name "$x$" is no formula
}
styled = matplotlib.rc_context(STYLE)  # decorates a function that draws

# Lengths on a sheet are in inches, from the top left corner.
TILE = 1.45
GAP = 0.14
LINE = 0.21  # a line of a caption of 12 points
TITLE = 0.6


def sheet(title: str, width: float, height: float) -> tuple[Figure, Axes]:
    """Returns a white figure, and axes that fill it with inches as coordinates."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    # A long title is drawn smaller: a character is about 0.6 times its size wide.
    font_size = min(15.0, 72 * (width - 2 * GAP) / (0.6 * max(1, len(title))))
    axes.text(GAP, GAP, title, va="top", fontsize=font_size)
    return figure, axes


def tile(axes: Axes, image: np.ndarray, left: float, top: float, size: float) -> None:
    """Draws one image, uint8 [H, W, 1 or 3], as a square on a sheet."""
    colors = np.broadcast_to(image, (*image.shape[:2], 3))
    extent = (left, left + size, top + size, top)
    axes.imshow(colors, extent=extent, aspect="auto")


def mosaic(
    title: str,
    images: Iterable[np.ndarray],
    captions: Sequence[str],
    columns: int = 8,
    size: float = TILE,
) -> Figure:
    """Draws a sheet of images, row by row, each with its caption below.

    The images are uint8 [H, W, 1 or 3] and drawn as squares of ``size`` inches. The
    captions have the same number of lines, or all are empty.
    """
    lines = captions[0].count("\n") + 1 if any(captions) else 0
    row_height = size + LINE * lines + GAP
    rows = math.ceil(len(captions) / columns)
    width = columns * (size + GAP) + GAP
    figure, axes = sheet(title, width, TITLE + rows * row_height + GAP)
    for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left = GAP + (i % columns) * (size + GAP)
        top = TITLE + (i // columns) * row_height
        tile(axes, image, left, top, size)
        axes.text(left, top + size + 0.04, caption, va="top", fontsize=12)
    return figure


def write(figure: Figure, path: Path) -> None:
    """Writes PNG, JPEG or SVG, depending on the suffix; completely or not at all."""
    options: dict[str, Any] = {
        ".jpg": {"pil_kwargs": {"quality": 88}},
        ".svg": {"metadata": {"Date": None}},  # equal pictures give equal files
    }.get(path.suffix, {})
    with replacing(path) as draft, warnings.catch_warnings():
        # Characters that are in no installed font are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(draft, **options)


@styled
def write_slide(figure: Figure, folder: Path, stem: str) -> list[Path]:
    """Writes a figure as PNG and as SVG, and returns the two paths."""
    paths = [folder / f"{stem}.png", folder / f"{stem}.svg"]
    for path in paths:
        write(figure, path)
    return paths
