"""What train.py is asked for, checked before JAX is imported."""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from cnn_arch import settings
from cnn_arch.command_line import check_file, check_folder, check_use
from cnn_arch.errors import UsageError
from cnn_arch.installation import command
from cnn_arch.parallel.launcher import Process
from cnn_arch.screen import Screen
from cnn_arch.weights.download import is_published

# A profile has its own folder; without one, train.py trains.
USES = {
    "show_schedule": (),
    "show_batch": ("data_dir",),
    "find_lr": ("data_dir", "init_from"),
    "profile": ("data_dir",),
    "": ("workdir", "data_dir", "init_from"),
}
SHOWN = {"show_schedule", "show_batch", "find_lr"}  # they draw, instead of training
PICTURES = (".png", ".jpg", ".svg", ".pdf")

RATE = "--config.optim.learning_rate"
SHORT = {"data_dir": "data.dir", "init_from": "init_from"}  # options that set settings


def read(
    words: Sequence[str], given: Mapping[str, str]
) -> tuple[list[str], FrozenConfigDict, dict[str, Any]]:
    """Reads the words for the config, with those of the options of ``SHORT``.

    Returns:
      All words, and what ``settings.parse`` returns for them.

    Raises:
      UsageError: a word is wrong, or ``check`` raises it.
    """
    short = [f"--config.{SHORT[name]}={given[name]}" for name in SHORT if name in given]
    config, changed = settings.parse([*words, *short], trains=True)
    check(given, config)
    return [*words, *short], config, changed


def check(given: Mapping[str, str], config: ConfigDict) -> None:
    """Checks the options of train.py, and the folders that it needs.

    Raises:
      UsageError: an option has no effect, or a folder is not there or cannot be made.
    """
    check_use(given, USES, otherwise="")
    for name in sorted(SHOWN):
        if name in given:
            check_file(f"--{name}", given[name], PICTURES)
    if "show_schedule" in given:
        return  # it needs no data
    for name in ("profile", "workdir"):
        if name in given:
            check_folder(f"--{name}", given[name])
    is_published(config.init_from)  # refuses an unknown name
    data = config.data
    if data.source == "folder" and not os.path.isdir(os.path.expanduser(data.dir)):
        raise UsageError(
            f"--config.data.dir={data.dir}: no such folder; give one with CLASS/*.jpg "
            "or train/CLASS/*.jpg"
        )


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """Adds the options that draw, instead of training."""
    for name, (file, what) in {
        "show_schedule": ("schedule.png", "the learning rate"),
        "show_batch": ("batch.png", "images as the network is fed"),
        "find_lr": ("find_lr.png", "the loss while the learning rate rises"),
    }.items():
        text = f"draw {what}, end; default {file}"
        parser.add_argument(
            f"--{name}", nargs="?", const=file, metavar="FILE", help=text
        )


def show(
    given: Mapping[str, str],
    config: ConfigDict,
    words: Sequence[str],
    screen: Screen,
    process: Process,
) -> int:
    """Draws what is asked for, of a run that does not begin; returns 0."""
    found = ""
    if "show_schedule" in given:
        path = given["show_schedule"]
        show_schedule(path, config, words, screen)
    elif "find_lr" in given:
        path = given["find_lr"]
        found = find_rate(path, config, words, screen, process)
    else:
        path = given["show_batch"]
        show_batch(path, config, words, screen, process)
    screen.say("wrote", path, last=True)
    if found:
        # Of two rates on a command line, the first has no effect.
        others = [word for word in words if not word.startswith(f"{RATE}=")]
        screen.row()
        screen.say("Next:", command("train", *others, f"{RATE}={found}"))
    return 0


def show_batch(
    path: str,
    config: ConfigDict,
    words: Sequence[str],
    screen: Screen,
    process: Process,
) -> None:
    """Draws images of the first batch.

    Raises:
      UsageError: the devices or the data cannot be used.
    """
    from cnn_arch import run_directory
    from cnn_arch.data.loading import TrainBatches
    from cnn_arch.datasets import opening
    from cnn_arch.parallel import processes, runtime
    from cnn_arch.training.preview import Preview

    mesh, config = runtime.open_for_training(config, screen, process)
    run = run_directory.open_run(None, config, screen, cleanup=None)  # makes no folder
    dataset, config = opening.open_for_training(config, run)
    batches = TrainBatches.of_run(config, dataset, mesh, keep=False)
    Preview(words, config, batches, dataset.class_names, mesh).draw(Path(path))
    opening.say_skipped(processes.union(batches.skipped), screen)


def find_rate(
    path: str,
    config: ConfigDict,
    words: Sequence[str],
    screen: Screen,
    process: Process,
) -> str:
    """Tests learning rates and draws the losses; returns the suggested rate, or "".

    Raises:
      UsageError: the devices, the data or the starting point cannot be used.
    """
    from cnn_arch import run_directory
    from cnn_arch.data.loading import TrainBatches
    from cnn_arch.datasets import opening
    from cnn_arch.parallel import runtime
    from cnn_arch.report import rate_curve
    from cnn_arch.training import optimizer, rate_finder, starting_point
    from cnn_arch.training.program import Program

    mesh, config = runtime.open_for_training(config, screen, process)
    run = run_directory.open_run(None, config, screen, cleanup=None)  # makes no folder
    dataset, config = opening.open_for_training(config, run)
    optimizer.name_recipe(config, words, screen)
    config = rate_finder.rising(config)
    batches = TrainBatches.of_run(config, dataset, mesh)
    program = Program(config, dataset.num_classes, mesh, batches.steps_per_epoch)
    start = starting_point.read(program, dataset.class_names, run)
    with screen.timed("compile", "training step"):
        program.compile()
    curve = rate_finder.find(program, start, batches, screen)
    suggestion = curve.suggestion
    if process.writes:
        rate_curve.draw(
            Path(path), curve.rates, curve.losses, curve.smoothed, suggestion
        )
    if suggestion is None:
        screen.warn("the loss has hardly fallen at any rate, so none is suggested")
        return ""
    screen.say("find lr", f"{suggestion:.2g}, a tenth of the rate of the least loss")
    return f"{suggestion:.2g}"


def show_schedule(
    path: str, config: ConfigDict, words: Sequence[str], screen: Screen
) -> None:
    """Draws the learning rate.

    The picture needs no data: its axis is in the unit of the run's length.
    """
    from cnn_arch.report import plots
    from cnn_arch.training import optimizer, schedules

    optimizer.name_recipe(config, words, screen)
    for remark in schedules.unknown(config.optim):
        screen.say("", remark)
    curve = schedules.curve(config)
    plots.rates(Path(path), *curve, unit="step" if config.steps else "epoch")
