"""Writes a data set as records: once, before the first training on it.

The order: the command line; the published files, fetched on request; the images in
them, counted and compared with the published numbers and checksums; the records, which
become a data set under its name when all are written. The same command continues.
"""

import argparse

from cnn_arch import cli, command_line
from cnn_arch.installation import command
from cnn_arch.preparation import request
from cnn_arch.preparation.published import PUBLISHED, download
from cnn_arch.preparation.request import Request
from cnn_arch.screen import Screen
from cnn_arch.units import counted

EXAMPLES = """\
  python prepare.py cifar10 --download
  python prepare.py mnist --from=mnist
  python prepare.py imagenet2012 --from=ILSVRC2012
  python prepare.py imagenet2012 --from=ILSVRC2012 --short_side=256
  python prepare.py folder --from=photos --to=photos_records

NAME is mnist, fashion_mnist, cifar10, cifar100, imagenet2012 or folder. ImageNet is
found as the official archives (train and validation), as Kaggle's folder ILSVRC, or as
folders train/SYNSET/*.JPEG and val/. TensorFlow is not needed."""


def main(options: argparse.Namespace, words: list[str], _: cli.Ending) -> int:
    """Runs the command; returns its exit status."""
    screen = Screen(quiet=options.quiet)
    asked = request.read(options.given, words)
    screen.say("data", f"{asked.name}   (stop: Ctrl-C, continues later)")
    if asked.downloads:
        download(asked.name, PUBLISHED[asked.name], asked.source, screen)

    # This import takes seconds, so the first line is printed before it.
    from cnn_arch.preparation import records

    with screen.timed("find", "the images"):
        plan = find(asked)
    for note in plan.notes:
        screen.warn(note)
    counts = "  ".join(f"{name} {count:,}" for name, count in plan.num_images.items())
    size = f"about {plan.num_bytes / 2**20:,.0f} MiB"
    screen.say("images", f"{counts}; {size}, {counted(len(plan.parts), 'file')}")
    is_new = records.write(plan, asked.given, screen)
    idle = "" if is_new else "   (nothing to do)"
    screen.say("exists" if idle else "wrote", f"{plan.folder}{idle}")
    return cli.say_next(screen, *next_commands(asked, plan.config))


def find(asked: Request):
    """Finds the images of a data set; returns what is to be written."""
    from cnn_arch.preparation import imagenet, pictures, small

    name, known = asked.name, PUBLISHED.get(asked.name)
    if known is None:
        return pictures.plan_folder(asked.source, asked.target, asked.short_side)
    if name == "imagenet2012":
        side = asked.short_side
        return imagenet.plan_imagenet(asked.source, asked.target, side, known)
    folder = asked.target / name / known.version
    plan = small.plan_cifar if name.startswith("cifar") else small.plan_mnist
    return plan(name, asked.source, folder, known)


def next_commands(asked: Request, config: str) -> list[str]:
    """Returns commands that train on the data set."""
    recipes = {"imagenet2012": "resnet50", "folder": "resnet34", "mnist": "lenet5"}
    recipe = recipes.get(asked.name, "resnet20")
    words = [f"--config=configs/{recipe}.py:{asked.name}"]
    if config:
        words.append(f"--config.data.name={asked.name}/{config}")
    if asked.has_own_target:
        words.append(f"--config.data.dir={asked.target}")
    return [command("train", *words)]


if __name__ == "__main__":
    parser = command_line.parser(__doc__, EXAMPLES)
    parser.add_argument("name", nargs="?", metavar="NAME", help="of the data set")
    for name, text in {
        "from": "the folder of the archives or pictures; with --download: where the "
        "archives are kept, default ~/.cache/cnn_arch/data/NAME",
        "to": "TFDS's data_dir, default ~/tensorflow_datasets; for a folder, a new one",
    }.items():
        parser.add_argument(f"--{name}", metavar="DIR", help=text)
    text = "fetch the archives from their official addresses, with checksums"
    parser.add_argument("--download", action="store_true", help=text)
    text = "store larger images with this shorter side, px, as JPEG of quality 95"
    parser.add_argument("--short_side", type=int, metavar="PX", help=text)
    cli.run(main, parser)
