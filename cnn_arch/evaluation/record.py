"""Evaluates a network on a split and leaves the results in the run directory."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from cnn_arch.checkpoints.checkpoint import open_checkpoints
from cnn_arch.data.opening import check_classes, say_skipped
from cnn_arch.data.sources import Dataset, Source
from cnn_arch.data.views import load_examples
from cnn_arch.evaluation.network import Network
from cnn_arch.evaluation.one_crop import Evaluator, Results
from cnn_arch.files import write_csv, write_text
from cnn_arch.parallel import processes
from cnn_arch.report import confusion, plots
from cnn_arch.run_directory import Run, best_epoch
from cnn_arch.screen import Screen, printable
from cnn_arch.training.program import Program
from cnn_arch.weights.files import write_npz

NUM_TOP_LOSSES = 24
FILTER_LAYERS = ("conv1", "C1")  # whose kernels are worth a picture


@dataclasses.dataclass(frozen=True)
class _Judged:
    """A split, and what a network says of it."""

    split: str
    source: Source
    results: Results
    network: Network

    @property
    def matrix(self) -> np.ndarray:
        """Counts of each true class (row) and predicted class (column)."""
        results, num_classes = self.results, len(self.network.class_names)
        return confusion.confusion_matrix(
            results.label, results.prediction, num_classes
        )

    def names(self, classes: np.ndarray) -> list[str]:
        """Returns the names of classes."""
        return [self.network.class_names[number] for number in classes]


def evaluate_split(
    evaluator: Evaluator, network: Network, dataset: Dataset, split: str, run: Run
) -> dict[str, Any]:
    """Evaluates a network on a split, records the result and says it.

    Every process has the results; the first writes eval/results.json,
    eval/predictions_SPLIT.csv and the pictures, which bear the name of the split unless
    it is test. What results.json says of other splits stays.

    Returns:
      What eval/results.json says of the split; nothing on the other processes.
    """
    source, screen = dataset.splits[split], run.screen
    num_batches = -(-len(source) // evaluator.batch_size)
    with screen.progress(split, num_batches) as progress:
        results = evaluator.judge(network.variables, source, progress.advance)
    if jax.process_index():
        return {}
    judged = _Judged(split, source, results, network)
    summary = results.summary() | {"protocol": evaluator.protocol, **network.origin}
    path = run.workdir / "eval" / "results.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    _write_predictions(run.workdir, judged)
    _draw(run.workdir / "plots", judged)
    write_text(path, json.dumps(stored | {split: summary}, indent=2) + "\n")
    screen.say(
        {"validation": "val"}.get(split, split),
        f"{100 - summary['top1_error']:.2f} %   ({summary['num_examples']:,} images, "
        f"each used once; top-5 {100 - summary['top5_error']:.2f} %)",
        last=True,
    )
    screen.say("confused", _most_confused(judged) or "nothing")
    say_skipped(results.skipped, screen)
    return summary


@dataclasses.dataclass
class Validation:
    """Judges the split that chooses the best checkpoint, as often as it is called."""

    evaluator: Evaluator
    source: Source
    screen: Screen
    skipped: set[str] = dataclasses.field(default_factory=set)  # could not be read

    def __call__(self, variables: Any) -> dict[str, float]:
        """Returns ``Results.summary`` of a network."""
        num_batches = -(-len(self.source) // self.evaluator.batch_size)
        with self.screen.progress("validate", num_batches) as progress:
            results = self.evaluator.judge(variables, self.source, progress.advance)
        self.skipped.update(results.skipped)
        return results.summary()


def keep_best(variables: Any, run: Run) -> None:
    """Says which epoch was best, writes its weights and draws its first filters."""
    epoch, accuracy = best_epoch(run.workdir)
    run.screen.row()
    run.screen.say(
        "best", f"{accuracy:.1f} % val top-1 at epoch {epoch}  ->  checkpoints/best"
    )
    write_npz(run.workdir / "weights_best.npz", variables)
    for layer in FILTER_LAYERS:
        if layer in variables["params"]:
            kernel = np.asarray(variables["params"][layer]["kernel"])
            plots.filters_conv1(run.workdir / "plots" / "filters_conv1.png", kernel)


def evaluate(
    network: Network, dataset: Dataset, split: str, mesh: Mesh, run: Run
) -> dict[str, Any]:
    """Evaluates a restored network on a split, as ``evaluate_split``.

    Raises:
      UsageError: the data's classes are not those of the network.
    """
    check_classes(dataset, network.class_names, run.workdir)
    evaluator = Evaluator(network.config, network.model, mesh)
    summary = evaluate_split(evaluator, network, dataset, split, run)
    run.screen.say("wrote", f"{run.workdir}/eval/results.json  predictions_{split}.csv")
    return summary


def test_best(
    program: Program, evaluator: Evaluator, dataset: Dataset, run: Run
) -> None:
    """Keeps the best network of a run, and judges it once on the test split."""
    variables, step = program.restore_best(open_checkpoints(run))
    if not jax.process_index():
        keep_best(variables, run)
    is_done = processes.from_first(is_tested(run.workdir, step))
    if "test" in dataset.splits and not is_done:
        names, origin = dataset.class_names, {"checkpoint_step": step}
        variables = program.place(variables)
        best = Network(program.model, variables, names, origin, program.config)
        evaluate_split(evaluator, best, dataset, "test", run)


def is_tested(workdir: Path, step: int) -> bool:
    """Says whether the test split has been used on this checkpoint already."""
    path = workdir / "eval" / "results.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    return stored.get("test", {}).get("checkpoint_step") == step


def _most_confused(judged: _Judged) -> str:
    """Writes the three most frequent mistakes in one line: ``4 -> 9  7, ...``."""
    class_names = judged.network.class_names
    return ", ".join(
        f"{printable(class_names[true], 20)} -> "
        f"{printable(class_names[predicted], 20)}  {count}"
        for true, predicted, count in confusion.confused_pairs(judged.matrix, 3)
    )


def _write_predictions(workdir: Path, judged: _Judged) -> None:
    columns = ("index", "file", "label", "label_name", "prediction")
    rows: list[Any] = [(*columns, "prediction_name", "probability", "loss")]
    results, class_names = judged.results, judged.network.class_names
    for i, index in enumerate(results.index):
        label, prediction = int(results.label[i]), int(results.prediction[i])
        names = class_names[label], class_names[prediction]
        file = judged.source.name(int(index))
        row = index, file, label, names[0], prediction, names[1]
        probability, loss = float(results.probability[i]), float(results.loss[i])
        rows.append([*row, f"{probability:.6g}", f"{loss:.6g}"])
    write_csv(workdir / "eval" / f"predictions_{judged.split}.csv", rows)


def _draw(folder: Path, judged: _Judged) -> None:
    results, data = judged.results, judged.network.config.data
    suffix = "" if judged.split == "test" else f"_{judged.split}"
    path = folder / f"confusion{suffix}.png"
    plots.confusion(path, judged.matrix, judged.network.class_names)

    def examples(places: np.ndarray) -> plots.Examples:
        return plots.Examples(
            load_examples(judged.source, results.index[places].tolist(), data),
            judged.names(results.label[places]),
            judged.names(results.prediction[places]),
            results.probability[places],
        )

    chosen = confusion.most_confused_indices(
        results.label, results.prediction, results.probability
    )
    if len(chosen):
        plots.most_confused(folder / f"most_confused{suffix}.png", examples(chosen))
    worst = np.argsort(-results.loss, kind="stable")[:NUM_TOP_LOSSES]
    path = folder / f"top_losses{suffix}.jpg"
    plots.top_losses(path, examples(worst), results.loss[worst])
