"""What an evaluation leaves in the run directory: numbers, predictions, pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from cnn_arch.data.sources import Source
from cnn_arch.data.views import load_examples
from cnn_arch.evaluation.one_crop import Results, protocol
from cnn_arch.files import write_csv, write_text
from cnn_arch.report import confusion, plots
from cnn_arch.screen import printable

NUM_TOP_LOSSES = 24


def record(
    workdir: Path,
    split: str,
    results: Results,
    source: Source,
    class_names: list[str],
    config: ConfigDict,
    origin: dict[str, Any],
) -> dict[str, Any]:
    """Writes eval/results.json, eval/predictions_SPLIT.csv and the pictures.

    The pictures of a split other than test bear its name.

    Args:
      workdir: the run directory.
      split: its name; other splits' numbers in results.json stay.
      results: of every example.
      source: the split, for names and images.
      class_names: K names.
      config: ``data`` is read.
      origin: ``checkpoint_step``, or ``weights``: what was evaluated.

    Returns:
      What results.json says of the split.
    """
    summary = results.summary() | {
        "protocol": protocol(config.data),
        **origin,
    }
    path = workdir / "eval" / "results.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    _write_predictions(workdir, split, results, source, class_names)
    suffix = "" if split == "test" else f"_{split}"
    _draw(workdir / "plots", suffix, results, source, class_names, config)
    write_text(path, json.dumps(stored | {split: summary}, indent=2) + "\n")
    return summary


def confused(results: Results, class_names: list[str]) -> str:
    """Writes the three most frequent mistakes in one line: ``4 -> 9  7, ...``."""
    matrix = confusion.confusion_matrix(
        results.label, results.prediction, len(class_names)
    )
    pairs = confusion.confused_pairs(matrix, 3)
    return ", ".join(
        f"{printable(class_names[true], 20)} -> "
        f"{printable(class_names[predicted], 20)}  {count}"
        for true, predicted, count in pairs
    )


def _write_predictions(
    workdir: Path,
    split: str,
    results: Results,
    source: Source,
    class_names: list[str],
) -> None:
    columns = ("index", "file", "label", "label_name", "prediction")
    rows: list[Any] = [(*columns, "prediction_name", "probability", "loss")]
    for i, index in enumerate(results.index):
        label, prediction = int(results.label[i]), int(results.prediction[i])
        probability, loss = float(results.probability[i]), float(results.loss[i])
        names = class_names[label], class_names[prediction]
        row = index, source.name(int(index)), label, names[0], prediction, names[1]
        rows.append([*row, f"{probability:.6g}", f"{loss:.6g}"])
    write_csv(workdir / "eval" / f"predictions_{split}.csv", rows)


def _draw(
    folder: Path,
    suffix: str,
    results: Results,
    source: Source,
    class_names: list[str],
    config: ConfigDict,
) -> None:
    matrix = confusion.confusion_matrix(
        results.label, results.prediction, len(class_names)
    )
    plots.confusion(folder / f"confusion{suffix}.png", matrix, class_names)
    chosen = confusion.most_confused_indices(
        results.label, results.prediction, results.probability
    )
    worst = np.argsort(-results.loss, kind="stable")[:NUM_TOP_LOSSES]

    def described(places: np.ndarray):
        return (
            load_examples(source, results.index[places].tolist(), config.data),
            [class_names[label] for label in results.label[places]],
            [class_names[prediction] for prediction in results.prediction[places]],
            results.probability[places],
        )

    if len(chosen):
        path = folder / f"most_confused{suffix}.png"
        plots.most_confused(path, *described(chosen))
    path = folder / f"top_losses{suffix}.jpg"
    plots.top_losses(path, *described(worst), results.loss[worst])
