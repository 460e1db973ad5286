"""Which classes a network takes for which, and which images show it."""

import numpy as np


def confusion_matrix(
    labels: np.ndarray, predictions: np.ndarray, num_classes: int
) -> np.ndarray:
    """Counts the images of each true class (row) and predicted class (column).

    Args:
      labels: int [N], in 0..num_classes - 1.
      predictions: int [N], in the same range.
      num_classes: K.

    Returns:
      int64 [K, K].
    """
    cells = labels.astype(np.int64) * num_classes + predictions
    counts = np.bincount(cells, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def confused_pairs(matrix: np.ndarray, limit: int) -> list[tuple[int, int, int]]:
    """Lists (true class, predicted class, count), the most frequent mistakes first.

    Args:
      matrix: int [K, K], rows are true classes.
      limit: the greatest number of pairs; only pairs that occur are listed.
    """
    mistakes = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:limit]
    rows, columns = np.unravel_index(order, mistakes.shape)
    return [
        (int(row), int(column), int(mistakes[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if mistakes[row, column] > 0
    ]


def most_confused_indices(
    labels: np.ndarray,
    predictions: np.ndarray,
    probabilities: np.ndarray,
    pairs: int = 6,
    examples: int = 6,
) -> np.ndarray:
    """Picks the images for the picture of the most frequent mistakes.

    Args:
      labels: int [N].
      predictions: int [N].
      probabilities: float [N], of the predicted class.
      pairs: how many (true, predicted) pairs, the most frequent first.
      examples: how many images of each, the surest first.

    Returns:
      int64 [M], M <= pairs * examples, ordered by pair.
    """
    num_classes = int(max(labels.max(), predictions.max())) + 1
    matrix = confusion_matrix(labels, predictions, num_classes)
    picked = [np.zeros(0, np.int64)]
    for label, prediction, _ in confused_pairs(matrix, pairs):
        (members,) = np.nonzero((labels == label) & (predictions == prediction))
        surest_first = np.argsort(-probabilities[members], kind="stable")
        picked.append(members[surest_first[:examples]])
    return np.concatenate(picked)
