"""Trains a network with its recipe, tests it, and writes a report.

The order: the config; devices, data and network; the compiled program; the epochs, from
the start or from a checkpoint; the tests of the best checkpoint; the report.
"""

import argparse
import os
from typing import Any

from cnn_arch import cli, command_line, run_directory, same_run, settings
from cnn_arch.installation import command
from cnn_arch.parallel import launcher, processes
from cnn_arch.run_directory import Run
from cnn_arch.screen import Screen
from cnn_arch.training import request, stopping

EXAMPLES = """\
  python train.py --config=configs/lenet5.py
  python train.py --config=configs/resnet20.py:fashion_mnist --config.epochs=5
  python train.py --config=configs/resnet34.py:folder --config.data.dir=photos

The part after the colon chooses the data: mnist5k, mnist, fashion_mnist, cifar10,
cifar100, imagenet2012 or folder. --config.KEY=VALUE changes any setting of
configs/base.py. A recipe is Python code: run only recipes that you trust."""

AFTERWARDS = "--split=validation", "--images=my_picture.jpg"  # what eval.py can do next


def main(options: argparse.Namespace, words: list[str], ending: cli.Ending) -> int:
    """Runs the command; returns its exit status."""
    ending.process = process = launcher.find(vars(options), os.environ)
    screen = Screen(quiet=options.quiet, muted=not process.writes)
    words, config, overrides = request.read(words, options.given)
    if request.SHOWN.intersection(options.given):
        return request.show(options.given, config, words, screen, process)
    cleanup = ending.cleanup if process.writes and not options.profile else None
    run = run_directory.open_run(options.workdir, config, screen, cleanup)
    screen.say("run", f"{run.workdir}   (stop: Ctrl-C, continues later)")
    config = same_run.match_run(run.workdir, config, overrides, screen)
    stopping.prepare(options.workdir, screen.warn)
    # These imports take seconds, so the first line is printed before them.
    from cnn_arch.costs.summary import describe_network
    from cnn_arch.data import loading
    from cnn_arch.datasets import opening
    from cnn_arch.evaluation import final_test, protocols, record
    from cnn_arch.parallel import runtime
    from cnn_arch.training import loop, optimizer, preview, profile, starting_point
    from cnn_arch.training.program import Program

    mesh, config = runtime.open_for_training(config, screen, process)
    run = run.at(processes.from_first(str(run.workdir)))
    dataset, config = opening.open_for_training(config, run)
    screen.say("model", describe_network(config, dataset.num_classes))
    batches = loading.TrainBatches.of_run(config, dataset, mesh)
    optimizer.say_recipe(config, words, batches.steps_per_epoch, screen)
    compiled = Program(config, dataset.num_classes, mesh, batches.steps_per_epoch)
    evaluator, others = protocols.of_run(compiled, screen)
    start = starting_point.read(compiled, dataset.class_names, run)
    if trains := not loop.is_finished(run, config, batches.steps_per_epoch):
        with screen.timed("compile", "training step"):
            compiled.compile()
            evaluator.compile(compiled.variable_shapes)
    if options.profile:
        profile.profile(options.profile, compiled, batches, screen)
        return cli.say_next(screen, command("train", *words))
    # Write no file, but the lock's, before all of the above is known to work.
    opening.claim_directory(run, config, dataset)
    ending.run = run
    preview.Preview(words, config, batches, dataset.class_names, mesh).draw_of_run(run)
    validation = record.Validation(evaluator, dataset.splits["validation"], screen)
    try:
        loop.Trainer(compiled, batches, validation, run, start).fit()
        opening.finish_inspection(dataset, batches.skipped | validation.skipped, run)
        with stopping.stopping_at_once("in the test", has_advanced=trains):
            final_test.test_best(compiled, (evaluator, *others), dataset, run)
    except stopping.StoppedError as stopped:
        return stopping.leave(stopped, run, requeues=process.writes)
    evaluate = command("eval", f"--workdir={run.workdir}", *settings.own_recipe(words))
    write_pages(run, overrides, evaluate, dataset, compiled)
    return cli.say_next(screen, *(f"{evaluate} {option}" for option in AFTERWARDS))


def write_pages(
    run: Run, overrides: dict[str, Any], evaluate: str, dataset: Any, compiled: Any
) -> None:
    """Writes the report and the README of the run."""
    if processes.index():
        return
    from cnn_arch.costs.summary import describe_network
    from cnn_arch.datasets.opening import describe_data
    from cnn_arch.parallel.mesh import describe
    from cnn_arch.report import pages

    facts = {
        "command": run_directory.resume_command(run.workdir),
        "device": describe(compiled.mesh),
        "data": describe_data(dataset),
        "model": describe_network(compiled.config, compiled.num_classes),
        "evaluate": evaluate,
        "overrides": [f"--config.{key}={value}" for key, value in overrides.items()],
    }
    pages.write_pages(run, facts)


if __name__ == "__main__":
    parser = command_line.parser(__doc__, EXAMPLES)
    for name, text in {
        "workdir": "of the run; default runs/MODEL-DATA-N",
        "data_dir": "the data's folder, if it has moved",
        "init_from": "start from a run, a file of weights, torchvision:NAME or "
        "caffe:NAME",
        "profile": "a folder: trace a few steps, list the slowest operations, end",
    }.items():
        parser.add_argument(f"--{name}", help=text)
    request.add_pictures(parser)
    launcher.add_options(parser)
    cli.run(main, parser)
