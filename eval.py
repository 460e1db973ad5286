"""Evaluates a trained network on a whole split, or on your pictures.

The network is a run's checkpoint (--workdir), or a recipe's network with weights from a
file (--config and --weights). The order: the config; the devices, the data, the network
and its arrays; then one of these: a file for other programs, pictures, the features of
a layer, or each example of the split exactly once. Of several runs, the mean of their
probabilities is evaluated too.
"""

import argparse
import json
import os
from typing import Any

from cnn_arch import cli, command_line, run_directory
from cnn_arch.evaluation import request
from cnn_arch.installation import command, own_command
from cnn_arch.parallel import launcher, processes
from cnn_arch.screen import Screen
from cnn_arch.units import counted

EXAMPLES = """\
  python eval.py --workdir=runs/lenet5-mnist5k-1
  python eval.py --workdir=runs/lenet5-mnist5k-1 --checkpoint=last --split=validation
  python eval.py --workdir=runs/lenet5-mnist5k-1 --images=digits/ --json
  python eval.py --workdir=runs/alexnet-folder-1 --protocol=ten_crop
  python eval.py --workdir=runs/lenet5-mnist5k-1 --workdir=runs/lenet5-mnist5k-2
  python eval.py --workdir=runs/lenet5-mnist5k-1 --features=F6 --output=features.npz
  python eval.py --workdir=runs/lenet5-mnist5k-1 --export=lenet5.onnx
  python eval.py --config=configs/vgg16.py --weights=vgg16.pth --images=cat.jpg"""


def main(options: argparse.Namespace, words: list[str], ending: cli.Ending) -> int:
    """Runs the command; returns its exit status."""
    ending.process = process = launcher.find(vars(options), os.environ)
    screen = Screen(quiet=options.quiet, json=options.json, muted=not process.writes)
    request.check(options.given, words)
    several = options.average_of or request.is_ensemble(options.given)
    evaluate = evaluate_several if several else evaluate_one
    answer = evaluate(options, words, screen, ending)
    if options.json and process.writes:
        print(json.dumps(answer, indent=2))
    return 1 if options.images and not all(answer.values()) else 0  # 1: some unread


def evaluate_one(
    options: argparse.Namespace, words: list[str], screen: Screen, ending: cli.Ending
) -> dict[str, Any]:
    """Uses one network for what is asked for; returns what --json prints."""
    process = ending.process
    cleanup = ending.cleanup if process.writes else None
    config, run = run_directory.find_trained(words, options.given, screen, cleanup)
    split, which = options.split or "test", options.checkpoint or "best"
    screen.say("run", f"{run.workdir}, {options.weights or f'checkpoint {which}'}")

    # These imports take seconds, so the first line is printed before them.
    from cnn_arch.datasets.opening import Use, open_split
    from cnn_arch.evaluation import classify, ensemble, export, features, protocols
    from cnn_arch.evaluation.network import load
    from cnn_arch.parallel.runtime import open_devices

    protocol = protocols.of_options(options.given, config)
    mesh = open_devices(config, screen, process)
    for name in options.given.keys() & {"export", "images", "features", "weights"}:
        processes.check_alone(f"--{name}={options.given[name]}")
    use = Use.of_evaluation(screen, run.workdir, split, options.given)
    needs_split = not (options.export or options.images)
    dataset = open_split(config, use) if needs_split else None
    network = load(options.given, config, dataset, mesh, run)

    if options.export:
        answer = export.export(options.export, network, screen)
    elif dataset is None:
        views = protocols.make_many_views(protocol, network, mesh, screen)
        answer = classify.classify(options.images, network, views, run)
    elif options.features:
        source, names = dataset.splits[split], dataset.class_names
        arrays = features.extract(options.features, network, source, mesh, screen)
        output = request.output_path(options.given)
        answer = features.write(output, arrays, names, screen)
    else:
        evaluator = protocols.make_evaluator(protocol, network, mesh, screen)
        member = ensemble.Member(evaluator, network, dataset, split, run)
        saves = options.save_probabilities
        answer = member.save_probabilities() if saves else member.evaluate()
    name = "weights" if options.weights else "workdir"
    given = f"--{name}={options.weights or run.workdir}"
    after = [] if options.images else ["--images=my_picture.jpg"]
    cli.say_next(screen, command("eval", *words, given, *after))
    return answer


def evaluate_several(
    options: argparse.Namespace, words: list[str], screen: Screen, ending: cli.Ending
) -> dict[str, Any]:
    """Evaluates networks and their mean, or averages saved probabilities."""
    paths = request.workdirs(options.given)
    files = options.average_of.split(",") if options.average_of else []
    number = counted(len(files), "file") if files else counted(len(paths), "run")
    screen.say("mean of", number)
    from cnn_arch.evaluation import ensemble

    if files:
        return ensemble.evaluate_files(files, screen)
    process = ending.process
    members = ensemble.open_members(words, options.given, screen, process)
    cleanup = ending.cleanup if process.writes else None
    answer = ensemble.evaluate(members, cleanup, saves=options.save_probabilities)
    if not options.save_probabilities:
        cli.say_next(screen, own_command("--save_probabilities"))
    return answer


if __name__ == "__main__":
    parser = command_line.parser(__doc__, EXAMPLES)
    request.add_options(parser)
    launcher.add_options(parser)
    cli.run(main, parser)
