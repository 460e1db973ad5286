"""The reliability diagram: how often a network is right, by its own probability."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cnn_arch.drawing.canvas import BLUE, ORANGE, PALE_BLUE, styled, write
from cnn_arch.report.scores import NUM_BINS, Calibration


@styled
def draw(path: Path, found: Calibration) -> None:
    """Draws the share of right images in each bin, and the number of images below."""
    figure = Figure(figsize=(6, 7), layout="constrained")
    above, below = figure.subplots(2, height_ratios=(4, 1), sharex=True)
    centres = (np.arange(NUM_BINS) + 0.5) * 100 / NUM_BINS
    width = 90 / NUM_BINS
    above.bar(centres, 100 * found.accuracy, width, color=BLUE, label="right")
    above.plot([0, 100], [0, 100], "--", color=ORANGE, label="as sure as right")
    title = f"Expected calibration error {100 * found.error:.1f} %"
    above.set(title=title, ylabel="images that are right, %", ylim=(0, 100))
    above.legend(loc="upper left")
    below.bar(centres, found.images, width, color=PALE_BLUE)
    below.set(xlabel="probability of the predicted class, %", ylabel="images")
    below.set_xlim(0, 100)
    write(figure, path)
