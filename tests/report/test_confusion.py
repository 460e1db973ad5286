import numpy as np

from cnn_arch.report.confusion import (
    confused_pairs,
    confusion_matrix,
    most_confused_indices,
)

LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2], np.int32)
PREDICTIONS = np.array([0, 1, 1, 1, 0, 0, 0, 0, 2], np.int32)
PROBABILITIES = np.array([0.9, 0.5, 0.8, 0.9, 0.4, 0.3, 0.6, 0.5, 0.9])


def test_confusion_matrix_has_true_classes_as_rows():
    matrix = confusion_matrix(LABELS, PREDICTIONS, 4)
    assert matrix.tolist() == [[1, 2, 0, 0], [1, 1, 0, 0], [3, 0, 1, 0], [0, 0, 0, 0]]


def test_confusion_matrix_of_1000_classes_with_int32_labels():
    labels = np.array([999, 999, 0], np.int32)
    matrix = confusion_matrix(labels, labels[::-1].copy(), 1000)
    assert (matrix[999, 0], matrix[999, 999], matrix[0, 999]) == (1, 1, 1)
    assert matrix.sum() == 3


def test_confused_pairs_start_with_the_most_frequent_and_are_all_mistakes():
    matrix = confusion_matrix(LABELS, PREDICTIONS, 3)
    assert confused_pairs(matrix, 10) == [(2, 0, 3), (0, 1, 2), (1, 0, 1)]
    assert confused_pairs(matrix, 2) == [(2, 0, 3), (0, 1, 2)]
    assert confused_pairs(np.diag([5, 6]), 10) == []


def test_most_confused_indices_are_ordered_by_pair_and_then_by_probability():
    indices = most_confused_indices(LABELS, PREDICTIONS, PROBABILITIES, 2, 2)
    assert indices.tolist() == [6, 7, 2, 1]


def test_no_mistakes_give_no_indices():
    indices = most_confused_indices(LABELS, LABELS, PROBABILITIES)
    assert indices.tolist() == []
    assert indices.dtype == np.int64
