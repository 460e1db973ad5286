"""The picture docs/boxes_144.png; ``python -m tests.boxes_picture`` draws it anew."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from cnn_arch.data.boxes import Crops
from cnn_arch.data.transforms import resize_shorter_side
from cnn_arch.drawing import canvas
from tests.contact_sheets import ROOT, photograph

PICTURE = ROOT / "docs" / "boxes_144.png"
CROPS = Crops("googlenet_144", (256, 288, 320, 352), 224, mirrors=True)
SQUARES = {"top": canvas.BLUE, "centre": canvas.ORANGE, "bottom": canvas.GREEN}


@canvas.styled
def draw() -> Figure:
    """Draws the boxes of one photograph: a column a scale, a row a square."""
    photo = photograph()
    figure = Figure(figsize=(10, 9.5), layout="constrained")
    panels = figure.subplots(len(SQUARES), len(CROPS.scales))
    squares = np.array(CROPS.boxes(photo.shape[:2])).reshape(-1, 12, 5)
    for number, square in enumerate(squares):
        column, row = divmod(number, len(SQUARES))
        scale, (name, color) = CROPS.scales[column], list(SQUARES.items())[row]
        axes = panels[row, column]
        axes.imshow(resize_shorter_side(photo, scale))
        axes.set_axis_off()
        axes.set_title(f"{scale} px, {name}", fontsize=11)
        for _, top, left, side, _ in square[:6].tolist():
            style = "--" if side > CROPS.size else "-"
            place = left - 0.5, top - 0.5
            box = Rectangle(place, side, side, fill=False, linestyle=style)
            box.set(edgecolor=color, linewidth=1.6)
            axes.add_patch(box)
    figure.suptitle("GoogLeNet's 144 crops: these 72 boxes, and mirrored")
    return figure


if __name__ == "__main__":
    draw().savefig(PICTURE, dpi=80)
    with Image.open(PICTURE) as picture:  # fewer colours make a smaller file
        picture.convert("RGB").quantize(128).save(PICTURE, optimize=True)
