"""The end of a run: the best checkpoint, its one test, the report, the next command."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cnn_arch.data.sources import Dataset
from cnn_arch.evaluation.network import Trained
from cnn_arch.evaluation.one_crop import EvalStep, Results, evaluate
from cnn_arch.evaluation.record import confused, record
from cnn_arch.report import pages, plots
from cnn_arch.run_directory import best_epoch
from cnn_arch.screen import Screen, printable
from cnn_arch.weights.files import write_npz

FILTER_LAYERS = ("conv1", "C1")  # whose kernels are worth a picture


def evaluate_split(
    split: str,
    network: Trained,
    eval_step: EvalStep,
    dataset: Dataset,
    config: ConfigDict,
    mesh: Mesh,
    workdir: Path,
    screen: Screen,
) -> dict[str, Any]:
    """Evaluates a network on a split, records and tells the result.

    Args:
      split: a key of ``dataset.splits``.
      network: the network.
      eval_step: from ``make_eval_step``.
      dataset: the data.
      config: of the run.
      mesh: the devices.
      workdir: the run directory.
      screen: where it is told.

    Returns:
      What eval/results.json says of the split.
    """
    source = dataset.splits[split]
    skipped: set[str] = set()
    num_batches = -(-len(source) // config.batch_size)
    with screen.progress(split, num_batches) as progress:
        results = evaluate(
            eval_step,
            network.params,
            network.batch_stats,
            source,
            config,
            mesh,
            advance=progress.advance,
            skipped=skipped,
        )
    names = list(dataset.class_names)
    origin = network.origin
    if jax.process_index():  # every process has the results; the first writes them
        return {}
    summary = record(workdir, split, results, source, names, config, origin)
    tell_results(split, summary, results, dataset, screen)
    tell_skipped(skipped, screen)
    return summary


def tell_skipped(skipped: set[str], screen: Screen) -> None:
    """Counts the images that could not be read, and names the first."""
    if skipped:
        first = printable(min(skipped))
        screen.warn(f"{len(skipped)} broken images were skipped, {first} the first")


def keep_best(workdir: Path, params: Any, batch_stats: Any, screen: Screen) -> None:
    """Tells which epoch was best, writes its weights and draws its first filters."""
    epoch, accuracy = best_epoch(workdir)
    screen.row()
    screen.say(
        "best", f"{accuracy:.1f} % val top-1 at epoch {epoch}  ->  checkpoints/best"
    )
    write_npz(workdir / "weights_best.npz", params, batch_stats)
    draw_filters(workdir, params)


def tell_results(
    split: str,
    summary: Mapping[str, Any],
    results: Results,
    dataset: Dataset,
    screen: Screen,
) -> None:
    """Prints a split's accuracy and the most frequent mistakes."""
    screen.say(
        {"validation": "val"}.get(split, split),
        f"{100 - summary['top1_error']:.2f} %   ({summary['num_examples']:,} images, "
        f"each used once; top-5 {100 - summary['top5_error']:.2f} %)",
        last=True,
    )
    screen.say("confused", confused(results, list(dataset.class_names)) or "nothing")


def draw_filters(workdir: Path, params: Any) -> None:
    """Draws the first layer's filters, where the network has some that can be seen."""
    for layer in FILTER_LAYERS:
        if layer in params:
            kernel = np.asarray(params[layer]["kernel"])
            plots.filters_conv1(workdir / "plots" / "filters_conv1.png", kernel)


def is_tested(workdir: Path, step: int) -> bool:
    """Says whether the test split has been used on this checkpoint already."""
    path = workdir / "eval" / "results.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    return stored.get("test", {}).get("checkpoint_step") == step


def write_pages(workdir: Path, facts: Mapping[str, Any], screen: Screen) -> None:
    """Writes the report and the README of the run and says what lies there."""
    for path in workdir.glob("crash*.txt"):  # of any process
        path.unlink()
    pages.write_report(workdir, facts)
    pages.write_readme(workdir, facts)
    num_pictures = len(list((workdir / "plots").iterdir()))
    screen.say(
        "wrote",
        "report.html  README.md  metrics.csv  weights_best.npz  "
        f"plots/ ({num_pictures} pictures)",
    )
