"""Counts what a network costs, layer by layer, without weights or data.

The story, in order: the network and the size of its images; its layers, found in the
traced program; training, floors of time and measured times, where they are asked for;
and all of it as a table with totals, or for another program to read. Or, in its place,
what many devices exchange, and how training scales to them.
"""

import argparse
import json

from cnn_arch import cli
from cnn_arch.analysis.choose import choose_network
from cnn_arch.installation import command
from cnn_arch.screen import Screen
from cnn_arch.units import parse_size

EXAMPLES = """\
  python analyze.py --model=alexnet --fold
  python analyze.py --model=resnet50 --image_size=256 --format=csv
  python analyze.py --model=alexnet --batch=128 --training --memory=3GiB
  python analyze.py --config=configs/vgg16.py --roofline=a100
  python analyze.py --config=configs/alexnet.py --config.mesh.data=2 --collectives
  python analyze.py --model=alexnet_owt --scale=1,8,64 --roofline=h100 --link=nvlink4
  python analyze.py --claims
  python analyze.py --model=googlenet --figures=pictures
  python analyze.py --report=report

--model=NAME takes network, image size and classes from configs/NAME.py. Any setting
of the recipe can be given as --config.KEY=VALUE."""

FORMATS = "table", "json", "csv", "markdown"
DEVICES = "a100", "h100", "v100", "gtx580", "this"


def main(options: argparse.Namespace, words: list[str]) -> int:
    """Runs the command; returns its exit status."""
    screen = Screen(quiet=options.quiet, json=options.format != "table")
    if options.claims:
        screen.say("claims", "what lecture notes say, and what is counted")
        from cnn_arch.lectures import show

        show.tell(options.format, screen)
        cli.say_next(screen, command("analyze", "--model=vgg16", "--fold"))
        return 0
    if (options.figures and not options.scale) or options.report:
        return draw(options, words, screen)
    config = choose_network(options, words)
    data = config.data
    size = f"{data.image_size}x{data.image_size}x{data.channels}"
    count = "1 image" if config.batch_size == 1 else f"{config.batch_size} images"
    screen.say("network", f"{config.model.name}: {count} of {size}, {config.precision}")

    # What takes seconds to import comes after the first line.
    if options.collectives or options.scale:
        from cnn_arch.scaling import show

        told = show.tell_collectives if options.collectives else show.tell_scaling
        told(config, options, screen)
        given = f"--model={config.model.name}"
        scale = given, "--scale=1,8,64", "--roofline=h100", "--link=400Gbit"
        new = scale if options.collectives else (given, "--fold")
        cli.say_next(screen, command("analyze", *new))
        return 0
    from cnn_arch.analysis import show
    from cnn_arch.costs import blocks, training_step
    from cnn_arch.costs.layers import costs_of_config

    memory = parse_size("--memory", options.memory) if options.memory else None
    device = options.roofline or ("this" if options.measure else None)
    costs = costs_of_config(config)
    answer = show.as_record(config, costs)
    needs_device = options.training or options.measure or device == "this"
    mesh = show.open_device(config, screen) if needs_device else None
    if options.training or memory:
        counted = training_step.of_config(config, costs)
        answer["training"] = training_step.as_record(counted, memory)
    if options.training:
        answer["training"] |= show.compiled_memory(config, mesh, screen)
    if options.fold or device:  # a compiler folds, so a least time does
        costs = costs.with_rows(blocks.fold(costs.rows))
    floors = None
    if device:
        floors, answer["roofline"] = show.floors(device, costs.rows, config, screen)
    if options.measure:
        answer["measured"] = show.speed(config, mesh, screen)
    form = "line" if options.quiet and options.format == "table" else options.format
    show.everything(form, answer, costs.rows, floors, screen)
    others = {
        ("--roofline=a100",): options.roofline,
        ("--training", "--memory=3GiB"): options.training,
        ("--measure",): options.measure,
    }
    new = [new for new, used in others.items() if not used][:2] or [()]
    given = f"--model={config.model.name}"
    cli.say_next(screen, *(command("analyze", given, *words) for words in new))
    return 0


def draw(options: argparse.Namespace, words: list[str], screen: Screen) -> int:
    """Writes pictures, or the report of the whole catalogue, instead of a table."""
    config = choose_network(options, words) if options.model or words else None
    screen.say("network", config.model.name if config else "the whole catalogue")
    from cnn_arch.catalogue import pictures

    files = pictures.write(options.figures, options.report, config, screen)
    if options.format == "json":
        print(json.dumps({"wrote": files}, indent=2))
    cli.say_next(screen, command("analyze", "--model=resnet50", "--fold"))
    return 0


if __name__ == "__main__":
    parser = cli.parser(__doc__, EXAMPLES)
    parser.add_argument("--model", help="a network of the catalogue: ls configs/")
    parser.add_argument("--image_size", type=int, help="px; default the recipe's")
    parser.add_argument("--batch", type=int, help="images; default 1 or the recipe's")
    parser.add_argument(
        "--fold", action="store_true", help="activations and BatchNorm to their layers"
    )
    parser.add_argument("--format", choices=FORMATS, default="table")
    parser.add_argument(
        "--training", action="store_true", help="a step's operations and memory"
    )
    parser.add_argument("--memory", help="the largest batch that 3GiB, 24GB holds")
    parser.add_argument(
        "--roofline", choices=DEVICES, help="the least time of each layer on a device"
    )
    parser.add_argument(
        "--measure", action="store_true", help="forward pass and step, images/s"
    )
    parser.add_argument(
        "--collectives", action="store_true", help="what devices of a mesh exchange"
    )
    parser.add_argument("--scale", help="predict training on 1,2,8,64 devices")
    parser.add_argument("--link", help="between them: 400Gbit, 50GB/s, nvlink4, pcie3")
    parser.add_argument(
        "--latency", type=float, default=5.0, help="of a message, us; default 5"
    )
    parser.add_argument("--claims", action="store_true", help="lecture notes, counted")
    parser.add_argument("--figures", help="a folder for pictures, PNG and SVG")
    parser.add_argument("--report", help="a folder for a page of the whole catalogue")
    cli.run(main, parser)
