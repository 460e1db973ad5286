"""The tests at the end of a run: of its best network, once by each protocol."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnn_arch.checkpoints.checkpoint import open_checkpoints
from cnn_arch.datasets.dataset import Dataset
from cnn_arch.evaluation import exact_statistics
from cnn_arch.evaluation.evaluator import Evaluator
from cnn_arch.evaluation.network import Network
from cnn_arch.evaluation.record import (
    evaluate_split,
    read_results,
    say_summary,
    store,
    summarise,
)
from cnn_arch.evaluation.writing import own_turn
from cnn_arch.parallel import processes
from cnn_arch.report import plots
from cnn_arch.run_directory import Run
from cnn_arch.training.program import Program
from cnn_arch.weights.files import write_npz

FILTER_LAYERS = ("conv1", "C1")  # first layers whose kernels are drawn


def test_best(
    program: Program, evaluators: Sequence[Evaluator], dataset: Dataset, run: Run
) -> None:
    """Writes the best network of a run, and tests it once by each protocol.

    The first evaluator is that of validation, the others are of the recipe's paper.
    Theirs is the average of the parameters, if the run keeps one.
    """
    run.check(now=True)
    checkpoints, config = open_checkpoints(run), program.config
    variables, step = program.restore_best(checkpoints)
    statistics = exact_statistics.path_of(run.workdir, step)
    # The test split is used only once on each checkpoint.
    done = processes.from_first(_find_done(run, evaluators, step))
    measured: dict[str, int] = {}
    if len(done) == len(evaluators):  # the files may be process 0's alone
        if not processes.index():
            variables, _ = exact_statistics.read(run, config, variables, statistics)
    else:
        variables, measured = exact_statistics.measure(
            program, dataset, variables, statistics, run.screen
        )
    if not processes.index():
        _keep_best(variables, checkpoints.facts(step), run)
    for key in done:
        tested = read_results(run.workdir).get(key)
        if tested:
            say_summary(key, tested, dataset.num_classes, run.screen)
    if "test" not in dataset.splits or len(done) == len(evaluators):
        return
    names, origin = dataset.class_names, {"checkpoint_step": step, **measured}
    placed = program.place(variables)
    best = Network(program.model, placed, names, origin, config)
    first, *others = evaluators
    if "test" not in done:
        evaluate_split(first, best, dataset, "test", run)
    if config.optim.average != "none":
        best = _with_average(program, dataset, best, run)
        if "test" not in done:
            _test(first, best, dataset, "test_average", run)
    for evaluator in others:
        if (key := f"test{evaluator.suffix}") not in done:
            evaluator.prepare(best.variables, dataset.splits["test"], run.screen)
            _test(evaluator, best, dataset, key, run)


def _find_done(run: Run, evaluators: Sequence[Evaluator], step: int) -> list[str]:
    """Returns the keys of the tests of this step that results.json has."""
    stored, done = read_results(run.workdir), []
    for evaluator in evaluators:
        tested = stored.get(key := f"test{evaluator.suffix}", {})
        statistics = exact_statistics.path_of(run.workdir, step)
        has_statistics = statistics.is_file() or not tested.get("batch_norm_images")
        if tested.get("checkpoint_step") == step and has_statistics:
            done.append(key)
    return done


def _keep_best(variables: Any, facts: Mapping[str, Any], run: Run) -> None:
    """Prints the best epoch, writes its weights and draws the filters of layer 1."""
    run.screen.row()
    run.screen.say(
        "best",
        f"{100 - facts['validation_error']:.1f} % val top-1 at epoch "
        f"{facts['epoch']:g}  ->  checkpoints/best",
    )
    write_npz(run.workdir / "weights_best.npz", variables)
    kernel = first_kernel(variables["params"])
    if kernel is not None:
        plots.filters_conv1(run.workdir / "plots" / "filters_conv1.png", kernel)


def first_kernel(params: Mapping[str, Any]) -> np.ndarray | None:
    """Returns the kernel [H, W, C, maps] of a first layer of ``FILTER_LAYERS``."""
    for layer in FILTER_LAYERS:
        if layer in params:
            own = params[layer]
            return np.asarray(own.get("conv", own)["kernel"])  # "conv": with BatchNorm
    return None


def _with_average(
    program: Program, dataset: Dataset, best: Network, run: Run
) -> Network:
    """Returns the average of the parameters in the best checkpoint."""
    variables, step = program.restore_best(open_checkpoints(run), averaged=True)
    path = exact_statistics.path_of(run.workdir, step, averaged=True)
    variables, measured = exact_statistics.measure(
        program, dataset, variables, path, run.screen
    )
    origin = {"checkpoint_step": step, **measured, "parameters": "average"}
    variables = program.place(variables)
    return dataclasses.replace(best, variables=variables, origin=origin)


def _test(
    evaluator: Evaluator, network: Network, dataset: Dataset, key: str, run: Run
) -> None:
    """Tests a network, and stores the result without pictures."""
    source = dataset.splits["test"]
    label = key.partition("_")[2]
    with run.screen.progress(label, evaluator.num_batches(source)) as progress:
        results = evaluator.judge(network.variables, source, progress.advance)
    if processes.index():
        return
    summary = summarise(results, evaluator, network)
    with own_turn(run):
        store({key: summary}, run)
    say_summary(key, summary, dataset.num_classes, run.screen)
