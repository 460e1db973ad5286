"""Mistakes of a network: counts, frequent mistakes, example images."""

import numpy as np


def confusion_matrix(
    labels: np.ndarray, predictions: np.ndarray, num_classes: int
) -> np.ndarray:
    """Counts the images of each true class (row) and predicted class (column).

    Labels and predictions are int [N] in 0..K - 1; the result is int64 [K, K].
    """
    cells = labels.astype(np.int64) * num_classes + predictions
    counts = np.bincount(cells, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def confused_pairs(matrix: np.ndarray, limit: int) -> list[tuple[int, int, int]]:
    """Lists (true class, predicted class, count), the most frequent mistakes first.

    ``matrix`` is int [K, K], rows are true classes. Only pairs that occur are listed.
    """
    mistakes = matrix.copy()
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:limit]
    rows, columns = np.unravel_index(order, mistakes.shape)
    counts = mistakes[rows, columns]
    pairs = zip(rows.tolist(), columns.tolist(), counts.tolist(), strict=True)
    return [pair for pair in pairs if pair[2] > 0]


def most_confused_indices(
    labels: np.ndarray,
    predictions: np.ndarray,
    probabilities: np.ndarray,
    pairs: int = 6,
    examples: int = 6,
) -> np.ndarray:
    """Picks the images for the picture of the most frequent mistakes.

    Probabilities are float [N], of the predicted classes. The result is int64 [M], M <=
    pairs * examples: the most frequent (true, predicted) pairs first, and for each the
    images with the highest probability first.
    """
    num_classes = int(max(labels.max(), predictions.max())) + 1
    matrix = confusion_matrix(labels, predictions, num_classes)
    picked = [np.zeros(0, np.int64)]
    for label, prediction, _ in confused_pairs(matrix, pairs):
        (members,) = np.nonzero((labels == label) & (predictions == prediction))
        surest_first = np.argsort(-probabilities[members], kind="stable")
        picked.append(members[surest_first[:examples]])
    return np.concatenate(picked)


def shows_top5(num_classes: int) -> bool:
    """Returns whether the top-5 error says something: not with five classes or fewer.

    Files for programs have it in any case: metrics.csv and eval/results.json.
    """
    return num_classes > 5
