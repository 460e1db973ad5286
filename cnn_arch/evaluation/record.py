"""Evaluates a network on a split and writes the results to the run directory."""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cnn_arch.data.sources import Source
from cnn_arch.data.views import load_examples
from cnn_arch.datasets.dataset import Dataset
from cnn_arch.datasets.opening import check_classes, say_skipped
from cnn_arch.evaluation.evaluator import Evaluator
from cnn_arch.evaluation.network import Network
from cnn_arch.evaluation.prediction import Known
from cnn_arch.evaluation.results import Results
from cnn_arch.evaluation.writing import own_turn
from cnn_arch.files import write_csv, write_text
from cnn_arch.parallel import processes
from cnn_arch.report import confusion, plots, reliability, scores
from cnn_arch.run_directory import Run
from cnn_arch.screen import Screen, printable
from cnn_arch.training.statistics import inexact_layer
from cnn_arch.units import counted

NUM_TOP_LOSSES = 24
RESULTS = "eval/results.json"


@dataclasses.dataclass(frozen=True)
class _Judged:
    """A split and a network's results on it."""

    key: str  # in results.json and in the names of files: the split, and the protocol
    source: Source
    results: Results
    network: Network

    @property
    def matrix(self) -> np.ndarray:
        return _matrix(self.results, self.network)

    def names(self, classes: np.ndarray) -> list[str]:
        return [self.network.class_names[number] for number in classes]


def evaluate_split(
    evaluator: Evaluator | Known,
    network: Network,
    dataset: Dataset,
    split: str,
    run: Run,
) -> dict[str, Any]:
    """Evaluates a network on a split, writes the results and prints a summary.

    Process 0 writes eval/predictions_KEY.csv, eval/classes_KEY.csv, the pictures (their
    names contain the key unless it is test), and the key's entry in eval/results.json;
    other entries stay. The key is the split and, if it is not one crop, the protocol:
    test_ten_crop.

    Returns:
      The entry in eval/results.json by its key; nothing on the other processes.
    """
    source, screen = dataset.splits[split], run.screen
    key = split + evaluator.suffix
    with screen.progress(key, evaluator.num_batches(source)) as progress:
        results = evaluator.judge(network.variables, source, progress.advance)
    if processes.index():
        return {}
    judged = _Judged(key, source, results, network)
    summary = summarise(results, evaluator, network)
    with own_turn(run):
        _write_predictions(run.workdir, judged)
        found = scores.class_scores(judged.matrix)
        table = scores.table(found, network.class_names)
        write_csv(run.workdir / "eval" / f"classes_{key}.csv", table)
        _draw(run.workdir / "plots", judged)
        store({key: summary}, run)
    say_summary(key, summary, len(network.class_names), screen)
    screen.say("confused", _most_confused(judged) or "nothing")
    _warn_of_one_class(judged, screen)
    say_skipped(results.skipped, screen)
    return {key: summary}


def summarise(
    results: Results, evaluator: Evaluator | Known, network: Network
) -> dict[str, Any]:
    """Returns the entry of an evaluation in eval/results.json."""
    more = {f"top{k}_error": results.top_error(k) for k in evaluator.more_tops}
    return {
        **results.summary(),
        **more,
        **evaluator.description,
        **scores.macro_averages(scores.class_scores(_matrix(results, network))),
        "calibration_error": 100 * _calibration(results).error,
        **network.origin,
    }


def _matrix(results: Results, network: Network) -> np.ndarray:
    num_classes = len(network.class_names)
    return confusion.confusion_matrix(results.label, results.prediction, num_classes)


def _calibration(results: Results) -> scores.Calibration:
    is_right = results.prediction == results.label
    return scores.calibration(results.probability, is_right)


def store(entries: dict[str, Any], run: Run) -> None:
    """Adds entries to eval/results.json."""
    stored = read_results(run.workdir) | entries
    write_text(run.workdir / RESULTS, json.dumps(stored, indent=2) + "\n")


def read_results(workdir: Path) -> dict[str, Any]:
    """Returns eval/results.json; empty if there is none."""
    path = workdir / RESULTS
    return json.loads(path.read_text()) if path.exists() else {}


def say_summary(
    key: str, summary: Mapping[str, Any], num_classes: int, screen: Screen
) -> None:
    """Prints the share of images that are classified correctly."""
    notes = ["each used once"]
    if confusion.shows_top5(num_classes):
        tops = [key for key in summary if re.fullmatch(r"top\d+_error", key)]
        for name in tops[1:]:
            number = name.removeprefix("top").removesuffix("_error")
            notes.append(f"top-{number} {100 - summary[name]:.2f} %")
    if key.startswith(("test_", "train_", "validation_")):
        key, _, protocol = key.partition("_")
        notes.append(protocol)
    images = counted(summary["num_examples"], "image")
    screen.say(
        {"validation": "val"}.get(key, key),
        f"{100 - summary['top1_error']:.2f} %   ({images}, {'; '.join(notes)})",
        last=True,
    )


@dataclasses.dataclass
class Validation:
    """Evaluates networks on the split that selects the best checkpoint."""

    evaluator: Evaluator
    source: Source
    screen: Screen
    skipped: set[str] = dataclasses.field(default_factory=set)  # unreadable images
    _has_warned: bool = False

    def __call__(self, variables: Any) -> dict[str, float]:
        """Returns ``Results.summary`` of a network."""
        num_batches = self.evaluator.num_batches(self.source)
        with self.screen.progress("validate", num_batches) as progress:
            results = self.evaluator.judge(variables, self.source, progress.advance)
        self.skipped.update(results.skipped)
        inexact = inexact_layer(variables["batch_stats"])
        if inexact and not self._has_warned:
            self._has_warned = True
            self.screen.warn(
                f"{inexact[0]}: the mean of its inputs is so much larger than their "
                f"deviation that BatchNorm's variance may be {100 * inexact[1]:.1f} % "
                "wrong; subtract a mean before it, from images by --config.data.mean"
            )
        return results.summary()


def evaluate(
    evaluator: Evaluator, network: Network, dataset: Dataset, split: str, run: Run
) -> dict[str, Any]:
    """Evaluates a restored network as ``evaluate_split`` does, and names the files.

    Raises:
      UsageError: the data and the network have different classes.
    """
    check_classes(dataset, network.class_names, run.workdir)
    evaluator.prepare(network.variables, dataset.splits[split], run.screen)
    answer = evaluate_split(evaluator, network, dataset, split, run)
    file = f"predictions_{split}{evaluator.suffix}.csv"
    run.screen.say("wrote", f"{run.workdir}/eval/results.json  {file}")
    return answer


def _most_confused(judged: _Judged) -> str:
    """Formats the three most frequent mistakes in one line: ``4 -> 9  7, ...``."""
    names = [printable(name, 20) for name in judged.network.class_names]
    return ", ".join(
        f"{names[true]} -> {names[predicted]}  {count}"
        for true, predicted, count in confusion.confused_pairs(judged.matrix, limit=3)
    )


def _warn_of_one_class(judged: _Judged, screen: Screen) -> None:
    """Warns of a network that gives all images the same class, though they differ."""
    (predicted,) = np.nonzero(judged.matrix.sum(axis=0))
    (true,) = np.nonzero(judged.matrix.sum(axis=1))
    if len(predicted) == 1 < len(true):
        (name,) = judged.names(predicted)
        screen.warn(
            f"all images are judged to be {printable(name, 20)}: the network has not "
            "learnt to tell classes apart; train.py --find_lr suggests a learning "
            "rate, and --init_from=RUN starts from trained weights"
        )


def _write_predictions(workdir: Path, judged: _Judged) -> None:
    results = judged.results
    columns = {
        "index": results.index,
        "file": [judged.source.name(int(index)) for index in results.index],
        "label": results.label,
        "label_name": judged.names(results.label),
        "prediction": results.prediction,
        "prediction_name": judged.names(results.prediction),
        "probability": [f"{probability:.6g}" for probability in results.probability],
        "loss": [f"{loss:.6g}" for loss in results.loss],
        "rank": results.rank,
    }
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    write_csv(workdir / "eval" / f"predictions_{judged.key}.csv", rows)


def _draw(folder: Path, judged: _Judged) -> None:
    results, data = judged.results, judged.network.config.data
    suffix = "" if judged.key == "test" else f"_{judged.key}"
    class_names = judged.network.class_names
    plots.confusion(folder / f"confusion{suffix}.png", judged.matrix, class_names)
    reliability.draw(folder / f"reliability{suffix}.png", _calibration(results))

    def examples(rows: np.ndarray) -> plots.Examples:
        return plots.Examples(
            load_examples(judged.source, results.index[rows].tolist(), data),
            judged.names(results.label[rows]),
            judged.names(results.prediction[rows]),
            results.probability[rows],
        )

    chosen = confusion.most_confused_indices(
        results.label, results.prediction, results.probability
    )
    if len(chosen):
        plots.most_confused(folder / f"most_confused{suffix}.png", examples(chosen))
    worst = np.argsort(-results.loss, kind="stable")[:NUM_TOP_LOSSES]
    path = folder / f"top_losses{suffix}.jpg"
    plots.top_losses(path, examples(worst), results.loss[worst])
