"""Evaluates a trained network on a whole split, or on pictures of your own.

The network is a run's checkpoint (--workdir), or a recipe's with the weights of a file
(--config and --weights). The story, in order: the config; the devices, the data, the
network and its arrays; then one of: a file for other programs, pictures, the features
of a layer, or each example of the split exactly once.
"""

import argparse
import json
import os
from pathlib import Path

from ml_collections import ConfigDict

from cnn_arch import cli, installation, run_directory, settings
from cnn_arch.errors import UsageError
from cnn_arch.parallel import launcher, processes
from cnn_arch.screen import Screen

EXAMPLES = """\
  python eval.py --workdir=runs/lenet5-mnist5k-1
  python eval.py --workdir=runs/lenet5-mnist5k-1 --checkpoint=last --split=validation
  python eval.py --workdir=runs/lenet5-mnist5k-1 --images=digits/ --json
  python eval.py --workdir=runs/lenet5-mnist5k-1 --features=F6 --output=features.npz
  python eval.py --workdir=runs/lenet5-mnist5k-1 --export=lenet5.onnx
  python eval.py --config=configs/vgg16.py --weights=vgg16.pth --images=cat.jpg"""


def main(options: argparse.Namespace, words: list[str]) -> int:
    """Runs the command; returns its exit status."""
    options.process = process = launcher.find(options, os.environ)
    screen = Screen(quiet=options.quiet, json=options.json, muted=not process.writes)
    config, workdir = find_network(options, words)
    source = options.weights or f"checkpoint {options.checkpoint}"
    screen.say("run", f"{workdir}, {source}")

    # What takes seconds to import comes after the first line.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from cnn_arch import finish, session
    from cnn_arch.evaluation.classify import classify
    from cnn_arch.evaluation.export import export
    from cnn_arch.evaluation.features import write_features
    from cnn_arch.evaluation.network import restore
    from cnn_arch.evaluation.one_crop import make_eval_step

    mesh = session.open_devices(config, screen, process, fit_batch=True)
    for name in ("export", "images", "features", "weights"):
        if getattr(options, name):
            processes.check_alone(f"--{name}={getattr(options, name)}")
    if options.export:
        network = restore(options, config, workdir, None, mesh, screen)
        answer = export(options.export, network, config, screen)
    elif options.images:
        network = restore(options, config, workdir, None, mesh, screen)
        answer = classify(options.images, network, config, workdir, screen)
    else:
        dataset = session.open_data(config, screen)
        split = session.choose_split(dataset, options.split)
        network = restore(options, config, workdir, dataset, mesh, screen)
        if options.features:
            output = options.output or f"{options.features.replace('/', '-')}.npz"
            where = dataset, split, config, mesh, screen
            answer = write_features(output, network, options.features, *where)
        else:
            session.check_classes(dataset, network.class_names, workdir)
            if options.weights:
                run_directory.create(workdir, config, dataset.class_names, ())
            eval_step = make_eval_step(config, network.model, mesh)
            where = dataset, config, mesh, workdir, screen
            answer = {split: finish.evaluate_split(split, network, eval_step, *where)}
            screen.say("wrote", f"{workdir}/eval/results.json  predictions_{split}.csv")
    tell_next(options, words, workdir, screen)
    if options.json and process.writes:
        print(json.dumps(answer, indent=2))
    return 0


def find_network(
    options: argparse.Namespace, words: list[str]
) -> tuple[ConfigDict, Path]:
    """Returns the config and the directory for results.

    Raises:
      UsageError: neither a run nor a recipe with weights is given.
    """
    if options.output and not options.features:
        raise UsageError(f"--output={options.output}: goes with --features=LAYER")
    if options.weights:
        config, _ = settings.parse(words)
        workdir = run_directory.choose(options.workdir, config, prefix="eval-")
        run_directory.check_same_run(workdir, config)
    elif words:
        hint = "needs --weights=FILE" if "--config" in words[0] else "no such option"
        raise UsageError(f"{words[0]}: {hint}; see --help")
    elif not options.workdir:
        raise UsageError("--workdir: must be given, or --config and --weights")
    else:
        workdir = Path(options.workdir)
        if not (workdir / "config.json").is_file():
            raise UsageError(f"--workdir={workdir}: no run there; train.py makes one")
        config = settings.from_json(workdir / "config.json")
    with config.unlocked():
        # Any mesh evaluates what any other trained; layers are looked at whole.
        config.mesh.data, config.mesh.model = 0, 1
        config.data.dir = options.data_dir or config.data.dir
    return config, workdir


def tell_next(
    options: argparse.Namespace, words: list[str], workdir: Path, screen: Screen
) -> None:
    """Ends with a command that may follow."""
    given = [f"--workdir={workdir}"]
    if options.weights:
        given = [*words, f"--weights={options.weights}"]
    after = [] if options.images else ["--images=my_picture.jpg"]
    cli.say_next(screen, installation.command("eval", *given, *after))


if __name__ == "__main__":
    parser = cli.parser(__doc__, EXAMPLES)
    parser.add_argument("--workdir", help="the directory of a run")
    parser.add_argument(
        "--checkpoint", default="best", help="best, last or a step; default best"
    )
    parser.add_argument(
        "--weights",
        help="instead of a run, with --config=RECIPE: torchvision's weights as "
        ".safetensors or .pth, or a run's weights_best.npz",
    )
    parser.add_argument(
        "--split", default="test", help="train, validation or test; default test"
    )
    parser.add_argument("--images", help="a picture, or a folder of pictures")
    parser.add_argument(
        "--features", help="a layer whose outputs to write: fc7, conv5_3, pool5"
    )
    parser.add_argument("--output", help="where to write them; default LAYER.npz")
    parser.add_argument(
        "--export", help="write FILE.stablehlo, .onnx, .safetensors or .npz"
    )
    parser.add_argument("--data_dir", help="where the data lies, if it has moved")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    launcher.add_options(parser)
    cli.run(main, parser)
