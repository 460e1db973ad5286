"""Numbers counted from the training images, once for a run."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
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
    has_arrays = data.normalisation != "channels"
    empty = [key for key in ("mean", "std") if not (has_arrays or data[key])]
    empty += ["pca"] if data.pca_noise and not data.pca else []
    wants_arrays = has_arrays and not data.arrays
    if wants_arrays:
        _check_size(data)
    if not (empty or wants_arrays):
        return config
    numbers, arrays = None, None
    if processes.index() == 0:
        sums = [_ColourSums(data)] * bool(empty) + [_ArraySums(data)] * wants_arrays
        num_images = _add_up(sums, source, data, screen, MAX_IMAGES)
        for each in sums:
            counted = each.result(num_images)
            if isinstance(counted, ColourStatistics):
                numbers = _numbers(counted, empty)
                what = _describe(counted)
            else:
                arrays, what = counted, data.normalisation
            images = units.counted(num_images, "training image")
            screen.say("counted", f"{images}: {what}")
    changes: dict[str, Any] = processes.from_first(numbers) or {}
    if wants_arrays:
        arrays = _arrays_of_first_process(arrays, data)
        changes["data.arrays"] = normalisation.remember(arrays)
    return settings.derive(config, changes)


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


def _numbers(counted: ColourStatistics, keys: Sequence[str]) -> dict[str, Any]:
    """Returns the counted numbers of some settings of config.data, with six digits."""
    every = {
        "mean": counted.mean,
        "std": np.maximum(counted.std, 1.0),  # images may be of one colour
        "pca": counted.principal_axes,
    }
    return {f"data.{key}": tuple(float(f"{x:.6g}") for x in every[key]) for key in keys}


def _describe(counted: ColourStatistics) -> str:
    mean, std = (
        ", ".join(f"{x:.1f}" for x in values) for values in (counted.mean, counted.std)
    )
    return f"mean {mean}; deviation {std}"


def _check_size(data: DataConfig) -> None:
    size = data.image_size**2 * data.channels
    if data.normalisation == "gcn_zca" and size > MAX_WHITENED:
        raise UsageError(
            f"--config.data.normalisation=gcn_zca: {size:,} numbers an image are too "
            f"many to whiten, at most {MAX_WHITENED:,}; write mean_image"
        )


def _arrays_of_first_process(
    arrays: normalisation.Arrays | None, data: DataConfig
) -> normalisation.Arrays:
    """Returns the arrays of process 0, which the others do not have."""
    if arrays is None:
        shape = data.image_size, data.image_size, data.channels
        size = math.prod(shape) if data.normalisation == "gcn_zca" else 0
        mean = np.zeros(shape, np.float32)
        arrays = normalisation.Arrays(mean, np.zeros((size, size), np.float32))
    if processes.count() > 1:
        both = arrays.mean, arrays.whitening
        both = map(np.asarray, multihost_utils.broadcast_one_to_all(both))
        arrays = normalisation.Arrays(*both)
    return arrays


def _add_up(
    sums: Sequence["_ColourSums | _ArraySums"],
    source: Source,
    data: DataConfig,
    screen: Screen,
    max_images: int,
) -> int:
    """Reads the images once, in the view for evaluation; returns their number.

    Raises:
      RunError: there is no image that can be read.
    """
    num_images = 0
    for image in _images(source, data, screen, max_images):
        num_images += len(image)
        for each in sums:
            each.add(image)
    return num_images


class _ColourSums:
    """Adds up the colours of all pixels."""

    def __init__(self, data: DataConfig):
        self._channels = data.channels
        self._sums, self._products, self._num_pixels = 0.0, 0.0, 0

    def add(self, image: np.ndarray) -> None:
        """Adds images, uint8 [N, H, W, C]."""
        pixels = image.reshape(-1, self._channels)
        pixels = pixels.astype(np.float64)  # whole numbers: the sums are exact
        self._sums = self._sums + pixels.sum(axis=0)
        self._products = self._products + pixels.T @ pixels
        self._num_pixels += len(pixels)

    def result(self, num_images: int) -> ColourStatistics:
        """Returns the mean and the covariance."""
        mean = np.asarray(self._sums) / self._num_pixels
        covariance = np.asarray(self._products) / self._num_pixels
        return ColourStatistics(mean, covariance - np.outer(mean, mean), num_images)


class _ArraySums:
    """Adds up each pixel, for gcn_zca after GCN and with the products of all pairs."""

    def __init__(self, data: DataConfig):
        self._shape = data.image_size, data.image_size, data.channels
        self._whitens = data.normalisation == "gcn_zca"
        self._contrast = jax.jit(normalisation.normalise_contrast)
        self._sums, self._products = 0.0, 0.0

    def add(self, image: np.ndarray) -> None:
        """Adds images, uint8 [N, H, W, C]."""
        if self._whitens:
            image = np.asarray(self._contrast(image.astype(np.float32)))
        flat = image.reshape(len(image), -1).astype(np.float64)
        self._sums = self._sums + flat.sum(axis=0)
        if self._whitens:
            self._products = self._products + flat.T @ flat

    def result(self, num_images: int) -> normalisation.Arrays:
        """Returns the mean and the matrix that whitens, or an empty one."""
        mean = np.asarray(self._sums) / num_images
        whitening = np.zeros((0, 0), np.float32)
        if self._whitens:
            covariance = np.asarray(self._products) / num_images - np.outer(mean, mean)
            whitening = normalisation.zca(covariance)
        mean_image = mean.reshape(self._shape).astype(np.float32)
        return normalisation.Arrays(mean_image, whitening)


def count_colours(
    source: Source, data: DataConfig, screen: Screen, max_images: int = MAX_IMAGES
) -> ColourStatistics:
    """Counts the colours of a training split, in the view for evaluation.

    Raises:
      RunError: there is no image that can be read.
    """
    sums = _ColourSums(data)
    return sums.result(_add_up([sums], source, data, screen, max_images))


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
