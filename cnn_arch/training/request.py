"""What train.py is asked for, checked before JAX is imported."""

import os
from collections.abc import Mapping

from ml_collections import ConfigDict

from cnn_arch.command_line import check_folder, check_use
from cnn_arch.errors import UsageError

# A profile has its own folder; without one, train.py trains.
USES = {"profile": ("data_dir",), "": ("workdir", "data_dir")}


def with_data_dir(words: list[str], directory: str | None) -> list[str]:
    """Returns the words for the config with those of --data_dir, if it is given."""
    return words + ([f"--config.data.dir={directory}"] if directory else [])


def check(given: Mapping[str, str], config: ConfigDict) -> None:
    """Checks the options of train.py, and the folders that it needs.

    Raises:
      UsageError: an option has no effect, or a folder is not there or cannot be made.
    """
    check_use(given, USES, otherwise="")
    for name in ("profile", "workdir"):
        if name in given:
            check_folder(f"--{name}", given[name])
    data = config.data
    if data.source == "folder" and not os.path.isdir(os.path.expanduser(data.dir)):
        raise UsageError(
            f"--config.data.dir={data.dir}: no such folder; give one with CLASS/*.jpg "
            "or train/CLASS/*.jpg"
        )
