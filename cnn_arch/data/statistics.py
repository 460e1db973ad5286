"""Numbers counted from the training images, once for a run."""

import dataclasses

import jax
import numpy as np
from ml_collections import ConfigDict

from cnn_arch import settings, units
from cnn_arch.data.loading import evaluation_batches
from cnn_arch.data.sources import DataConfig, Source
from cnn_arch.errors import RunError
from cnn_arch.parallel import processes
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


def with_counts(config: ConfigDict, source: Source, screen: Screen) -> ConfigDict:
    """Returns the config with the numbers that its recipe leaves to be counted.

    They are ``choices.COUNTED``, with six digits. Process 0 counts, for all.
    """
    data = config.data
    empty = [key for key in ("mean", "std") if not data[key]]
    empty += ["pca"] if data.pca_noise and not data.pca else []
    if not empty:
        return config
    numbers = None
    if jax.process_index() == 0:
        counted = count_colours(source, data, screen)
        screen.say("counted", _describe(counted))
        every = {
            "mean": counted.mean,
            "std": np.maximum(counted.std, 1.0),  # images may be of one colour
            "pca": counted.principal_axes,
        }
        numbers = {key: [float(f"{x:.6g}") for x in every[key]] for key in empty}
    numbers = processes.from_first(numbers)
    return settings.derive(
        config, {f"data.{key}": tuple(numbers[key]) for key in empty}
    )


def _describe(counted: ColourStatistics) -> str:
    mean, std = (
        ", ".join(f"{x:.1f}" for x in values) for values in (counted.mean, counted.std)
    )
    images = units.counted(counted.num_images, "training image")
    return f"{images}: mean {mean}; deviation {std}"


def count_colours(
    source: Source, data: DataConfig, screen: Screen, max_images: int = MAX_IMAGES
) -> ColourStatistics:
    """Counts the colours of a training split, in the view for evaluation.

    Images that cannot be read are left out.

    Raises:
      RunError: there is no other image.
    """
    if len(source) > max_images:
        spread = np.linspace(0, len(source) - 1, max_images).astype(int)
        source = source.take(spread)
    sums, products, num_pixels, num_images = 0.0, 0.0, 0, 0
    with screen.progress("colours", -(-len(source) // CHUNK)) as progress:
        for batch in evaluation_batches(source, data, CHUNK):
            pixels = batch["image"][batch["mask"]].reshape(-1, data.channels)
            pixels = pixels.astype(np.float64)  # whole numbers: the sums are exact
            sums = sums + pixels.sum(axis=0)
            products = products + pixels.T @ pixels
            num_pixels += len(pixels)
            num_images += int(batch["mask"].sum())
            progress.advance()
    if not num_images:
        raise RunError(f"none of the {len(source):,} training images can be read")
    mean = np.asarray(sums) / num_pixels
    covariance = np.asarray(products) / num_pixels - np.outer(mean, mean)
    return ColourStatistics(mean, covariance, num_images)
