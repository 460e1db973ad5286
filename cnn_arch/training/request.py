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
from cnn_arch.screen import Screen
from cnn_arch.weights.download import is_published

# A profile has its own folder; without one, train.py trains.
USES = {
    "show_schedule": (),
    "profile": ("data_dir",),
    "": ("workdir", "data_dir", "init_from"),
}
PICTURES = (".png", ".svg", ".pdf")

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
    config, changed = settings.parse([*words, *short])
    check(given, config)
    return [*words, *short], config, changed


def check(given: Mapping[str, str], config: ConfigDict) -> None:
    """Checks the options of train.py, and the folders that it needs.

    Raises:
      UsageError: an option has no effect, or a folder is not there or cannot be made.
    """
    check_use(given, USES, otherwise="")
    if "show_schedule" in given:
        check_file("--show_schedule", given["show_schedule"], PICTURES)
        return
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
    """Adds the option that draws, instead of training."""
    parser.add_argument(
        "--show_schedule",
        nargs="?",
        const="schedule.png",
        metavar="FILE",
        help="draw the learning rate, end; default schedule.png",
    )


def show_schedule(path: str, config: ConfigDict, screen: Screen) -> int:
    """Draws the learning rate of a run that does not begin; returns 0.

    The picture needs no data: its axis is in the unit of the run's length.
    """
    from cnn_arch.report import plots
    from cnn_arch.training import optimizer, schedules

    screen.say("recipe", optimizer.describe_recipe(config))
    for remark in schedules.unknown(config.optim):
        screen.say("", remark)
    curve = schedules.curve(config)
    plots.rates(Path(path), *curve, unit="step" if config.steps else "epoch")
    screen.say("wrote", path, last=True)
    return 0
