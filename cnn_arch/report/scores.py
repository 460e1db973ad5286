"""Precision, recall and F1 of the classes, and how far probabilities can be trusted."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

NUM_BINS = 15  # Guo et al. 2017, "On Calibration of Modern Neural Networks", Section 4


class ClassScores(NamedTuple):
    """Of each class, [K]; the shares are 0 where they have no image to count."""

    images: np.ndarray  # int64, of the class
    predicted: np.ndarray  # int64, images that are taken for the class
    precision: np.ndarray  # share of these that are of the class
    recall: np.ndarray  # share of the class's images that are found
    f1: np.ndarray  # the harmonic mean of both


class Calibration(NamedTuple):
    """Images by the probability of the predicted class, in equal bins, [NUM_BINS]."""

    images: np.ndarray  # int64
    confidence: np.ndarray  # mean probability; 0 in an empty bin
    accuracy: np.ndarray  # share of images that are right; 0 in an empty bin

    @property
    def error(self) -> float:
        """The expected calibration error: the mean difference over all images."""
        gap = np.abs(self.accuracy - self.confidence)
        return float(np.average(gap, weights=self.images))


def class_scores(matrix: np.ndarray) -> ClassScores:
    """Counts from a confusion matrix int [K, K], whose rows are the true classes."""
    right, predicted, images = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    return ClassScores(
        images,
        predicted,
        _share(right, predicted),
        _share(right, images),
        _share(2 * right, predicted + images),
    )


def macro_averages(scores: ClassScores) -> dict[str, float]:
    """Returns the means over the classes that occur, in percent."""
    occurs = scores.images + scores.predicted > 0
    return {
        f"macro_{name}": 100 * float(getattr(scores, name)[occurs].mean())
        for name in ("precision", "recall", "f1")
    }


def calibration(probability: np.ndarray, is_right: np.ndarray) -> Calibration:
    """Bins images by the probability [N] of the class that is predicted."""
    # The bin of 0.2 is the one that ends there, as in the paper.
    place = np.ceil(probability * NUM_BINS).astype(np.int64) - 1
    place = np.clip(place, 0, NUM_BINS - 1)
    images = np.bincount(place, minlength=NUM_BINS)
    sums = [
        np.bincount(place, weights=values, minlength=NUM_BINS)
        for values in (probability, is_right)
    ]
    return Calibration(images, *(_share(each, images) for each in sums))


def table(scores: ClassScores, names: Sequence[str]) -> Iterator[list[Any]]:
    """Yields the rows of a table of all classes, shares in percent."""
    yield ["class", *ClassScores._fields]
    for name, images, predicted, *shares in zip(names, *scores, strict=True):
        yield [name, images, predicted, *(f"{100 * share:.2f}" for share in shares)]


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.maximum(whole, 1)
