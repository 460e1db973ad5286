"""What train.py is asked for, checked before JAX is imported."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from cnn_arch import settings
from cnn_arch.command_line import check_folder, check_use
from cnn_arch.errors import UsageError
from cnn_arch.weights.download import is_published

# A profile has its own folder; without one, train.py trains.
USES = {"profile": ("data_dir",), "": ("workdir", "data_dir", "init_from")}

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
