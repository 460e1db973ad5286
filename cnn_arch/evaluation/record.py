"""Evaluates a network on a split and writes the results to the run directory."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from cnn_arch.checkpoints.checkpoint import open_checkpoints
from cnn_arch.data.sources import Source
from cnn_arch.data.views import load_examples
from cnn_arch.datasets.dataset import Dataset
from cnn_arch.datasets.opening import check_classes, say_skipped
from cnn_arch.evaluation import exact_statistics
from cnn_arch.evaluation.network import Network
from cnn_arch.evaluation.one_crop import Evaluator, Results
from cnn_arch.evaluation.writing import own_turn
from cnn_arch.files import write_csv, write_text
from cnn_arch.parallel import processes
from cnn_arch.report import confusion, plots
from cnn_arch.run_directory import Run
from cnn_arch.screen import Screen, printable
from cnn_arch.training.program import Program
from cnn_arch.training.statistics import inexact_layer
from cnn_arch.units import counted
from cnn_arch.weights.files import write_npz

NUM_TOP_LOSSES = 24
RESULTS = "eval/results.json"
FILTER_LAYERS = ("conv1", "C1")  # first layers whose kernels are drawn


@dataclasses.dataclass(frozen=True)
class _Judged:
    """A split and a network's results on it."""

    split: str
    source: Source
    results: Results
    network: Network

    @property
    def matrix(self) -> np.ndarray:
        return confusion.confusion_matrix(
            self.results.label, self.results.prediction, len(self.network.class_names)
        )

    def names(self, classes: np.ndarray) -> list[str]:
        return [self.network.class_names[number] for number in classes]


def evaluate_split(
    evaluator: Evaluator, network: Network, dataset: Dataset, split: str, run: Run
) -> dict[str, Any]:
    """Evaluates a network on a split, writes the results and prints a summary.

    Process 0 writes eval/predictions_SPLIT.csv, the pictures (their names contain the
    split unless it is test), and the split's entry in eval/results.json; entries of
    other splits stay.

    Returns:
      The entry in eval/results.json; nothing on the other processes.
    """
    source, screen = dataset.splits[split], run.screen
    with screen.progress(split, evaluator.num_batches(source)) as progress:
        results = evaluator.judge(network.variables, source, progress.advance)
    if jax.process_index():
        return {}
    judged = _Judged(split, source, results, network)
    summary = results.summary() | {"protocol": evaluator.protocol, **network.origin}
    with own_turn(run):
        _write_predictions(run.workdir, judged)
        _draw(run.workdir / "plots", judged)
        _store({split: summary}, run)
    _say_summary(split, summary, len(network.class_names), screen)
    screen.say("confused", _most_confused(judged) or "nothing")
    say_skipped(results.skipped, screen)
    return summary


def _store(entries: dict[str, Any], run: Run) -> None:
    """Adds entries to eval/results.json."""
    stored = _read_results(run.workdir) | entries
    write_text(run.workdir / RESULTS, json.dumps(stored, indent=2) + "\n")


def _say_summary(
    split: str, summary: dict[str, Any], num_classes: int, screen: Screen
) -> None:
    top5 = ""
    if confusion.shows_top5(num_classes):
        top5 = f"; top-5 {100 - summary['top5_error']:.2f} %"
    images = counted(summary["num_examples"], "image")
    screen.say(
        {"validation": "val"}.get(split, split),
        f"{100 - summary['top1_error']:.2f} %   ({images}, each used once{top5})",
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


def _keep_best(variables: Any, facts: Mapping[str, Any], run: Run) -> None:
    """Prints the best epoch, writes its weights and draws the filters of layer 1."""
    run.screen.row()
    run.screen.say(
        "best",
        f"{100 - facts['validation_error']:.1f} % val top-1 at epoch "
        f"{facts['epoch']:g}  ->  checkpoints/best",
    )
    write_npz(run.workdir / "weights_best.npz", variables)
    for layer in FILTER_LAYERS:
        if layer in variables["params"]:
            kernel = np.asarray(variables["params"][layer]["kernel"])
            plots.filters_conv1(run.workdir / "plots" / "filters_conv1.png", kernel)


def evaluate(
    network: Network, dataset: Dataset, split: str, mesh: Mesh, run: Run
) -> dict[str, Any]:
    """Evaluates a restored network as ``evaluate_split`` does, and names the files.

    Raises:
      UsageError: the data and the network have different classes.
    """
    check_classes(dataset, network.class_names, run.workdir)
    evaluator = Evaluator(network.config, network.model, mesh)
    summary = evaluate_split(evaluator, network, dataset, split, run)
    run.screen.say("wrote", f"{run.workdir}/eval/results.json  predictions_{split}.csv")
    return summary


def test_best(
    program: Program, evaluator: Evaluator, dataset: Dataset, run: Run
) -> None:
    """Writes the best network of a run, and evaluates it once on the test split."""
    run.check(now=True)
    checkpoints, config = open_checkpoints(run), program.config
    variables, step = program.restore_best(checkpoints)
    statistics = exact_statistics.path_of(run.workdir, step)
    # The test split is used only once on each checkpoint.
    tested = _read_results(run.workdir).get("test", {})
    is_done = processes.from_first(
        tested.get("checkpoint_step") == step
        and (statistics.is_file() or not tested.get("batch_norm_images"))
    )
    measured = {}
    if not is_done:
        variables, measured = exact_statistics.measure(
            program, dataset, variables, statistics, run.screen
        )
    elif not jax.process_index():  # the files may be process 0's alone
        variables, _ = exact_statistics.read(run, config, variables, statistics)
    if not jax.process_index():
        _keep_best(variables, checkpoints.facts(step), run)
    if is_done and tested:
        _say_summary("test", tested, dataset.num_classes, run.screen)
    if "test" in dataset.splits and not is_done:
        names, origin = dataset.class_names, {"checkpoint_step": step, **measured}
        variables = program.place(variables)
        best = Network(program.model, variables, names, origin, config)
        evaluate_split(evaluator, best, dataset, "test", run)
        if config.optim.average != "none":
            _test_average(program, evaluator, dataset, run)


def _test_average(
    program: Program, evaluator: Evaluator, dataset: Dataset, run: Run
) -> None:
    """Tests the average of the parameters in the best checkpoint."""
    variables, step = program.restore_best(open_checkpoints(run), averaged=True)
    path = exact_statistics.path_of(run.workdir, step, averaged=True)
    variables, measured = exact_statistics.measure(
        program, dataset, variables, path, run.screen
    )
    source = dataset.splits["test"]
    with run.screen.progress("average", evaluator.num_batches(source)) as progress:
        results = evaluator.judge(program.place(variables), source, progress.advance)
    if jax.process_index():
        return
    origin = {"checkpoint_step": step, **measured, "parameters": "average"}
    summary = results.summary() | {"protocol": evaluator.protocol, **origin}
    _store({"test_average": summary}, run)
    _say_summary("average", summary, dataset.num_classes, run.screen)


def _read_results(workdir: Path) -> dict[str, Any]:
    path = workdir / RESULTS
    return json.loads(path.read_text()) if path.exists() else {}


def _most_confused(judged: _Judged) -> str:
    """Formats the three most frequent mistakes in one line: ``4 -> 9  7, ...``."""
    names = [printable(name, 20) for name in judged.network.class_names]
    return ", ".join(
        f"{names[true]} -> {names[predicted]}  {count}"
        for true, predicted, count in confusion.confused_pairs(judged.matrix, limit=3)
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
    }
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    write_csv(workdir / "eval" / f"predictions_{judged.split}.csv", rows)


def _draw(folder: Path, judged: _Judged) -> None:
    results, data = judged.results, judged.network.config.data
    suffix = "" if judged.split == "test" else f"_{judged.split}"
    class_names = judged.network.class_names
    plots.confusion(folder / f"confusion{suffix}.png", judged.matrix, class_names)

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
