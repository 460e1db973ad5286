"""Numbers counted from the training images, once for a run."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from cnn_arch import settings, units
from cnn_arch.data import normalisation
from cnn_arch.data.loading import evaluation_batches
from cnn_arch.data.sources import DataConfig, Source
from cnn_arch.errors import RunError, UsageError
from cnn_arch.parallel import processes
from cnn_arch.run_directory import Run
from cnn_arch.screen import Screen

MAX_IMAGES = 50_000  # more change the third digit at most; they are spread evenly
CHUNK = 256  # images that are in memory at a time
MAX_WHITENED = 4096  # numbers of an image; the matrix has their square


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


def with_counts(config: ConfigDict, source: Source, run: Run) -> ConfigDict:
    """Returns the config with the numbers that its recipe leaves to be counted.

    They are ``choices.COUNTED`` of config.data: the colours', with six digits, and the
    checksum of the arrays of the normalisation, if it has any. Process 0 counts, for
    all.

    Raises:
      RunError: there is no image that can be read.
      UsageError: the arrays of the run are lost, or images are too large for them.
    """
    data, screen = config.data, run.screen
    normalisation.read(run.workdir, data)
    changes: dict[str, Any] = {}
    has_arrays = data.normalisation != "channels"
    empty = [key for key in ("mean", "std") if not (has_arrays or data[key])]
    empty += ["pca"] if data.pca_noise and not data.pca else []
    if empty:
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
        changes = {f"data.{key}": tuple(numbers[key]) for key in empty}
    if has_arrays and not data.arrays:
        arrays = _arrays_of_first_process(source, data, screen)
        changes["data.arrays"] = normalisation.remember(arrays)
    return settings.derive(config, changes) if changes else config


def with_class_weights(
    config: ConfigDict, source: Source, num_classes: int, screen: Screen
) -> ConfigDict:
    """Returns the config with numbers for class_weights=inverse, with six digits.

    A class with n_k of the n training images has the weight n / (K n_k), so that the
    mean weight of the images is 1 if all K classes have some.
    """
    if config.class_weights != "inverse":
        return config
    counts = np.bincount(source.labels, minlength=num_classes)
    weights = len(source) / (num_classes * np.maximum(counts, 1))
    low, high = weights.min(), weights.max()
    screen.say("counted", f"weights of classes in the loss: {low:.3g} to {high:.3g}")
    text = ",".join(f"{weight:.6g}" for weight in weights)
    return settings.derive(config, {"class_weights": text})


def _describe(counted: ColourStatistics) -> str:
    mean, std = (
        ", ".join(f"{x:.1f}" for x in values) for values in (counted.mean, counted.std)
    )
    images = units.counted(counted.num_images, "training image")
    return f"{images}: mean {mean}; deviation {std}"


def _arrays_of_first_process(
    source: Source, data: DataConfig, screen: Screen
) -> normalisation.Arrays:
    shape = data.image_size, data.image_size, data.channels
    size = math.prod(shape)
    whitens = data.normalisation == "gcn_zca"
    if whitens and size > MAX_WHITENED:
        raise UsageError(
            f"--config.data.normalisation=gcn_zca: {size:,} numbers an image are too "
            f"many to whiten, at most {MAX_WHITENED:,}; write mean_image"
        )
    sizes = (size, size) if whitens else (0, 0)
    arrays = np.zeros(shape, np.float32), np.zeros(sizes, np.float32)
    if jax.process_index() == 0:
        counted = count_arrays(source, data, screen)
        arrays = counted.mean, counted.whitening
    if jax.process_count() > 1:
        arrays = map(np.asarray, multihost_utils.broadcast_one_to_all(arrays))
    return normalisation.Arrays(*arrays)


def count_arrays(
    source: Source, data: DataConfig, screen: Screen, max_images: int = MAX_IMAGES
) -> normalisation.Arrays:
    """Counts the mean of each pixel and, for gcn_zca, the whitening of all pixels.

    Raises:
      RunError: there is no image that can be read.
    """
    whitens = data.normalisation == "gcn_zca"
    contrast = jax.jit(normalisation.normalise_contrast)
    sums, products, num_images = 0.0, 0.0, 0
    for image in _images(source, data, screen, max_images):
        if whitens:
            image = np.asarray(contrast(image.astype(np.float32)))
        flat = image.reshape(len(image), -1).astype(np.float64)
        sums = sums + flat.sum(axis=0)
        products = products + flat.T @ flat if whitens else products
        num_images += len(image)
    mean = np.asarray(sums) / num_images
    whitening = np.zeros((0, 0), np.float32)
    if whitens:
        covariance = np.asarray(products) / num_images - np.outer(mean, mean)
        whitening = normalisation.zca(covariance)
    images = units.counted(num_images, "training image")
    screen.say("counted", f"{images}: {data.normalisation}")
    shape = data.image_size, data.image_size, data.channels
    return normalisation.Arrays(mean.reshape(shape).astype(np.float32), whitening)


def count_colours(
    source: Source, data: DataConfig, screen: Screen, max_images: int = MAX_IMAGES
) -> ColourStatistics:
    """Counts the colours of a training split, in the view for evaluation.

    Raises:
      RunError: there is no image that can be read.
    """
    sums, products, num_pixels, num_images = 0.0, 0.0, 0, 0
    for image in _images(source, data, screen, max_images):
        pixels = image.reshape(-1, data.channels)
        pixels = pixels.astype(np.float64)  # whole numbers: the sums are exact
        sums = sums + pixels.sum(axis=0)
        products = products + pixels.T @ pixels
        num_pixels += len(pixels)
        num_images += len(image)
    mean = np.asarray(sums) / num_pixels
    covariance = np.asarray(products) / num_pixels - np.outer(mean, mean)
    return ColourStatistics(mean, covariance, num_images)


def _images(
    source: Source, data: DataConfig, screen: Screen, max_images: int
) -> Iterator[np.ndarray]:
    """Yields images, uint8 [N, H, W, C], some at a time, without unreadable ones."""
    if len(source) > max_images:
        spread = np.linspace(0, len(source) - 1, max_images).astype(int)
        source = source.take(spread)
    none = True
    with screen.progress("counting", -(-len(source) // CHUNK)) as progress:
        for batch in evaluation_batches(source, data, CHUNK):
            image = batch["image"][batch["mask"]]
            none = none and not len(image)
            progress.advance()
            if len(image):
                yield image
    if none:
        raise RunError(f"none of the {len(source):,} training images can be read")
