"""Numbers counted from the training images, once for a run."""

import dataclasses

import numpy as np

from cnn_arch.data.sources import DataConfig, Source
from cnn_arch.data.views import load_batch
from cnn_arch.screen import Screen

MAX_IMAGES = 50_000  # more change the third digit at most; they are spread evenly
CHUNK = 64  # images that are in memory at a time


@dataclasses.dataclass(frozen=True)
class ColourStatistics:
    """Mean and covariance of the colours of all pixels, from 0 to 255."""

    mean: np.ndarray  # float64 [C]
    covariance: np.ndarray  # float64 [C, C]
    num_images: int

    @property
    def std(self) -> np.ndarray:
        """The standard deviation of each channel, [C]."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def principal_axes(self) -> tuple[float, ...]:
        """The deviations along the axes, largest first, then the axes: C + C * C.

        The first number of each axis that is not zero is positive.
        """
        values, vectors = np.linalg.eigh(self.covariance)
        values, axes = values[::-1], vectors.T[::-1]
        signs = [np.sign(axis[np.flatnonzero(np.abs(axis) > 1e-9)[0]]) for axis in axes]
        axes = axes * np.array(signs)[:, None]
        deviations = np.sqrt(np.maximum(values, 0))
        return tuple(map(float, (*deviations, *axes.ravel())))


def count_colours(
    source: Source, data: DataConfig, screen: Screen, max_images: int = MAX_IMAGES
) -> ColourStatistics:
    """Counts the colours of a training split, in the view for evaluation.

    Images that cannot be read are left out.
    """
    number = min(len(source), max_images)
    indices = np.linspace(0, len(source) - 1, number).astype(int)
    sums, products, num_pixels, num_images = 0.0, 0.0, 0, 0
    starts = range(0, number, CHUNK)
    with screen.progress("colours", len(starts)) as progress:
        for start in starts:
            batch = load_batch(source, indices[start : start + CHUNK], data)
            pixels = batch["image"][batch["mask"]].reshape(-1, data.channels)
            pixels = pixels.astype(np.float64)  # whole numbers: the sums are exact
            sums = sums + pixels.sum(axis=0)
            products = products + pixels.T @ pixels
            num_pixels += len(pixels)
            num_images += int(batch["mask"].sum())
            progress.advance()
    mean = np.asarray(sums) / num_pixels
    covariance = np.asarray(products) / num_pixels - np.outer(mean, mean)
    return ColourStatistics(mean, covariance, num_images)
