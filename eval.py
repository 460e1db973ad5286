"""Evaluates a trained network on a whole split, or on your pictures.

The network is a run's checkpoint (--workdir), or a recipe's network with weights from a
file (--config and --weights). The order: the config; the devices, the data, the network
and its arrays; then one of these: a file for other programs, pictures, the features of
a layer, or each example of the split exactly once.
"""

import argparse
import json
import os
from typing import Any

from cnn_arch import cli, command_line, run_directory
from cnn_arch.evaluation import request
from cnn_arch.installation import command
from cnn_arch.parallel import launcher, processes
from cnn_arch.run_directory import Run
from cnn_arch.screen import Screen
from cnn_arch.weights.download import local_path

EXAMPLES = """\
  python eval.py --workdir=runs/lenet5-mnist5k-1
  python eval.py --workdir=runs/lenet5-mnist5k-1 --checkpoint=last --split=validation
  python eval.py --workdir=runs/lenet5-mnist5k-1 --images=digits/ --json
  python eval.py --workdir=runs/alexnet-folder-1 --protocol=ten_crop
  python eval.py --workdir=runs/lenet5-mnist5k-1 --features=F6 --output=features.npz
  python eval.py --workdir=runs/lenet5-mnist5k-1 --export=lenet5.onnx
  python eval.py --config=configs/vgg16.py --weights=vgg16.pth --images=cat.jpg"""


def main(options: argparse.Namespace, words: list[str], ending: cli.Ending) -> int:
    """Runs the command; returns its exit status."""
    ending.process = process = launcher.find(vars(options), os.environ)
    screen = Screen(quiet=options.quiet, json=options.json, muted=not process.writes)
    request.check(options.given, words)
    cleanup = ending.cleanup if process.writes else None
    config, run = run_directory.find_trained(words, options.given, screen, cleanup)
    split, which = options.split or "test", options.checkpoint or "best"
    screen.say("run", f"{run.workdir}, {options.weights or f'checkpoint {which}'}")

    # These imports take seconds, so the first line is printed before them.
    from cnn_arch.datasets.opening import Use, open_split
    from cnn_arch.evaluation import classify, export, features, protocols, record
    from cnn_arch.parallel.runtime import open_devices

    protocol = protocols.of_options(options.given, config)
    mesh = open_devices(config, screen, process)
    for name in options.given.keys() & {"export", "images", "features", "weights"}:
        processes.check_alone(f"--{name}={options.given[name]}")
    use = Use.of_evaluation(screen, run.workdir, split, options.given)
    needs_split = not (options.export or options.images)
    dataset = open_split(config, use) if needs_split else None
    network = load_network(options, config, dataset, mesh, run)

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
        answer = record.evaluate(evaluator, network, dataset, split, run)
    name = "weights" if options.weights else "workdir"
    given = f"--{name}={options.weights or run.workdir}"
    after = [] if options.images else ["--images=my_picture.jpg"]
    cli.say_next(screen, command("eval", *words, given, *after))
    if options.json and process.writes:
        print(json.dumps(answer, indent=2))
    return 1 if options.images and not all(answer.values()) else 0  # 1: some unread


def load_network(
    options: argparse.Namespace, config: Any, dataset: Any, mesh: Any, run: Run
) -> Any:
    """Returns the network of the file of weights, or of the run's checkpoint."""
    from cnn_arch.evaluation.network import from_checkpoint, from_file

    if not options.weights:
        which = options.checkpoint or "best"
        return from_checkpoint(run, which, config, mesh, averaged=options.average)
    file = local_path(options.weights, run.screen)  # fetched, if a name
    network = from_file(file, dataset, config, mesh, run.screen)
    if not (options.export or options.features):  # those have their own file
        run_directory.create(run.workdir, config, network.class_names, ())
    return network


if __name__ == "__main__":
    parser = command_line.parser(__doc__, EXAMPLES)
    for name, text in {
        "workdir": "the directory of a run",
        "checkpoint": "best, last or a step; default best",
        "weights": "instead of --workdir, with --config=RECIPE: weights of torchvision "
        "(.safetensors, .pth, torchvision:NAME) or Caffe (.caffemodel, caffe:NAME), or "
        "weights_best.npz of a run",
        "split": "train, validation or test; default test",
        "images": "a picture, or a folder of pictures with its sub-folders",
        "features": "write the outputs of a layer: fc7, conv5_3, pool5",
        "output": "the file of the features; default LAYER.npz",
        "protocol": "one_crop (default), ten_crop, dense, ..., or paper: the recipe's",
        "scales": "shorter sides of the resized image, px: 256,384,512",
        "combine": "what is averaged over the views: softmax (default) or logits",
        "export": "write FILE.stablehlo, .onnx, .safetensors or .npz",
        "data_dir": "the data's folder, if it has moved",
    }.items():
        parser.add_argument(f"--{name}", help=text)
    parser.add_argument(
        "--average", action="store_true", help="use the average of the parameters"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object, nothing else"
    )
    launcher.add_options(parser)
    cli.run(main, parser)
