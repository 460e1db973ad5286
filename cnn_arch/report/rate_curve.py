"""The picture of a learning-rate range test."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from cnn_arch.drawing.canvas import BLUE, ORANGE, PALE_BLUE, styled, write


@styled
def draw(
    path: Path,
    rates: np.ndarray,
    losses: np.ndarray,
    smoothed: np.ndarray,
    suggestion: float | None,
) -> None:
    """Draws the losses of the steps over their rates, and marks the suggested rate."""
    figure = Figure(figsize=(7.5, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, color=PALE_BLUE, label="loss of a batch")
    axes.plot(rates, smoothed, color=BLUE, linewidth=2, label="smoothed")
    if suggestion:
        least = int(smoothed.argmin())
        axes.plot(rates[least], smoothed[least], "o", color=BLUE, label="least loss")
        label = f"suggested: {suggestion:.2g}, a tenth of that rate"
        axes.axvline(suggestion, color=ORANGE, linestyle="--", label=label)
    low, first = smoothed.min(), smoothed[0]
    height = max(first - low, 0.1 * first)  # a diverged loss would hide the fall
    axes.set(
        title="Learning-rate range test",
        xlabel="learning rate",
        ylabel="training loss",
        xscale="log",
        ylim=(max(0.0, low - 0.2 * height), first + 0.6 * height),
    )
    axes.grid(True)
    # Plain numbers: the style of all pictures reads no formulas.
    axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    figure.legend(loc="outside lower center", ncols=2)
    write(figure, path)
