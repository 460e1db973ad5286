"""Counts the costs of a network, layer by layer, without weights or data.

It chooses the network and the size of its images, finds the layers in the traced
program, adds training, minimum times and measured times on request, and prints a table
with totals, JSON, CSV or Markdown. Other options show the messages between devices, how
training scales, the claims of lecture notes, or pictures.
"""

import argparse
import json
from pathlib import Path

from ml_collections import ConfigDict

from cnn_arch import cli, command_line, settings
from cnn_arch.analysis import recipe, request
from cnn_arch.installation import command
from cnn_arch.scaling import message_time
from cnn_arch.screen import Screen
from cnn_arch.units import parse_size

EXAMPLES = """\
  python analyze.py --model=alexnet --fold
  python analyze.py --model=resnet50 --image_size=256 --format=csv
  python analyze.py --model=alexnet --batch=128 --training --memory=3GiB
  python analyze.py --config=configs/vgg16.py --roofline=a100
  python analyze.py --config=configs/alexnet.py --config.mesh.data=2 --collectives
  python analyze.py --model=alexnet_owt --scale=1,8,64 --roofline=h100 --link=nvlink4
  python analyze.py --model=vgg16 --measure --workdir=times/vgg16
  python analyze.py --claims
  python analyze.py --model=googlenet --figures=pictures
  python analyze.py --report=report

--model=NAME takes network, image size and classes from configs/NAME.py. Any setting
of the recipe can be changed with --config.KEY=VALUE."""

FORMATS = "table", "json", "csv", "markdown"
DEVICES = "a100", "h100", "v100", "gtx580", "this"


def main(options: argparse.Namespace, words: list[str], _: cli.Ending) -> int:
    """Runs the command; returns its exit status."""
    request.check(options.given, words)
    if options.scale:
        message_time.parse_scaling(vars(options))  # before JAX is imported
    screen = Screen(quiet=options.quiet, json=options.format != "table")
    many = options.collectives or options.scale
    batch = options.batch if many or options.batch is not None else 1
    if options.claims:
        screen.say("claims", "statements of lecture notes, compared with the counts")
        from cnn_arch.experiments import record, show
        from cnn_arch.lectures.show import show_claims

        show_claims(options.format, screen, show.as_claims(record.RUNS))
        new = [("--model=vgg16", "--fold")]
    elif options.workdir:
        config = recipe.choose(options.model, words, options.image_size, options.batch)
        from cnn_arch.analysis import times

        times.write(config, Path(options.workdir), screen)
        new = [(f"--model={config.model.name}", "--measure")]
    elif (options.figures and not options.scale) or options.report:
        config = None
        if options.model or words:
            config = recipe.choose(options.model, words, options.image_size, batch)
        screen.say("network", config.model.name if config else "the whole catalogue")
        from cnn_arch.catalogue import pictures

        files = pictures.write(options.figures, options.report, config, screen)
        if options.format == "json":
            print(json.dumps({"wrote": files}, indent=2))
        new = [("--model=resnet50", "--fold")]
    else:
        config = recipe.choose(options.model, words, options.image_size, batch)
        size, count = config.data.image_size, config.batch_size
        images = f"{count} image{'s' * (count > 1)} of {size}x{size}"
        images += f"x{config.data.channels}, {config.precision}"
        screen.say("network", f"{config.model.name}: {images}")
        after = (show_devices if many else show_costs)(options, config, screen)
        given = settings.own_recipe(words) or [f"--model={config.model.name}"]
        new = [(*given, *each) for each in after]
    cli.say_next(screen, *(command("analyze", *each) for each in new))
    return 0


def show_devices(options: argparse.Namespace, config: ConfigDict, screen: Screen):
    """Shows messages between devices, or how training scales; returns next words."""
    from cnn_arch.scaling import show

    if options.collectives:
        show.show_collectives(config, options.format, screen)
        return [("--scale=1,8,64", "--roofline=h100", "--link=400Gbit")]
    names = "scale", "roofline", "link", "latency"
    asked = {name: getattr(options, name) for name in names}
    show.show_scaling(config, asked, options.figures, options.format, screen)
    return [("--fold",)]


def show_costs(options: argparse.Namespace, config: ConfigDict, screen: Screen):
    """Shows the table of the layers and the requested extras; returns next words."""
    from cnn_arch.analysis import answer, show

    memory = parse_size("--memory", options.memory) if options.memory else None
    device = options.roofline or ("this" if options.measure else None)
    on_device = options.training or options.measure or device == "this"
    counted = answer.Answer(config, screen, on_device=on_device)
    if options.training or memory:
        counted.add_training(memory, compiled=options.training)
    if options.fold or device:  # minimum times are of folded layers, as compilers fold
        counted.fold()
    if device:
        counted.add_roofline(device)
    if options.measure:
        counted.add_speed()
    show.show_answer(counted, options.format, screen)
    others = {
        ("--roofline=a100",): options.roofline,
        ("--training", "--memory=3GiB"): options.training,
        ("--measure",): options.measure,
    }
    return [each for each, used in others.items() if not used][:2] or [()]


if __name__ == "__main__":
    parser = command_line.parser(__doc__, EXAMPLES)
    for name, text in {
        "model": "a network of the catalogue: ls configs/",
        "memory": "the largest batch that fits in 3GiB, 24GB",
        "scale": "predict training on 1,2,8,64 devices",
        "link": "between devices: 400Gbit, 50GB/s, nvlink4, pcie3",
        "figures": "a folder for pictures, PNG and SVG",
        "report": "a folder for a page of the whole catalogue",
        "workdir": "with --measure: a folder for the times of batches of 1 to 64",
    }.items():
        parser.add_argument(f"--{name}", help=text)
    for name, text in {
        "fold": "add activations and BatchNorm to the layers before them",
        "training": "operations and memory of a training step",
        "measure": "measure forward pass and training step, images/s",
        "collectives": "list the messages between the devices of a mesh",
        "claims": "compare statements of lecture notes with the counts",
    }.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    parser.add_argument("--image_size", type=int, help="px; default the recipe's")
    parser.add_argument("--batch", type=int, help="images; default 1 or the recipe's")
    parser.add_argument("--format", choices=FORMATS, default="table")
    text = "the minimum time of each layer on a device"
    parser.add_argument("--roofline", choices=DEVICES, help=text)
    text = "of a message between two devices, software included, us; default 5"
    parser.add_argument("--latency", type=float, default=5.0, help=text)
    cli.run(main, parser)
