"""Scores of classes and calibration, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from cnn_arch.report import reliability, scores
from cnn_arch.report.confusion import confusion_matrix


def test_scores_of_classes_are_scikit_learns():
    draw = np.random.default_rng(0)
    labels, predictions = draw.integers(0, 6, (2, 50))
    labels[labels == 4] = 3  # class 4 has no image, and class 6 does not occur
    found = scores.class_scores(confusion_matrix(labels, predictions, 7))
    *expected, images = precision_recall_fscore_support(
        labels, predictions, labels=range(7), zero_division=0.0
    )
    np.testing.assert_array_equal(found.images, images)
    for name, values in zip(("precision", "recall", "f1"), expected, strict=True):
        np.testing.assert_allclose(getattr(found, name), values)
    macro = precision_recall_fscore_support(
        labels, predictions, average="macro", zero_division=0.0
    )
    np.testing.assert_allclose(
        list(scores.macro_averages(found).values()), 100 * np.array(macro[:3], float)
    )


def test_calibration_by_hand(tmp_path):
    """Two images in the bin up to 3/15, one in the last bin, one on an edge."""
    probability = np.array([0.15, 0.19, 0.2, 0.98])
    found = scores.calibration(probability, np.array([True, False, True, True]))
    assert found.images.tolist() == [0, 0, 3] + [0] * 11 + [1]
    np.testing.assert_allclose(found.confidence[2], 0.18)
    np.testing.assert_allclose(found.accuracy[2], 2 / 3)
    assert found.error == pytest.approx(0.75 * (2 / 3 - 0.18) + 0.25 * 0.02)
    reliability.draw(tmp_path / "reliability.png", found)
    assert (tmp_path / "reliability.png").stat().st_size > 1000


def test_a_table_has_a_row_for_each_class():
    found = scores.class_scores(np.array([[3, 1], [0, 4]]))
    assert list(scores.table(found, ("a", "b"))) == [
        ["class", "images", "predicted", "precision", "recall", "f1"],
        ["a", 4, 3, "100.00", "75.00", "85.71"],
        ["b", 4, 5, "80.00", "100.00", "88.89"],
    ]
