"""What prepare.py is asked for, checked before TFDS is imported."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_arch import hints
from cnn_arch.command_line import check_folder
from cnn_arch.errors import UsageError
from cnn_arch.fetch import cache_folder
from cnn_arch.preparation.published import PUBLISHED

NAMES = (*PUBLISHED, "folder")
SHRINKS = ("imagenet2012", "folder")  # data sets whose images may become smaller
SIDES = range(32, 4097)


@dataclasses.dataclass(frozen=True)
class Request:
    """A checked command line."""

    name: str
    source: Path  # with the files that are published, or with pictures
    target: Path  # TFDS's data_dir; of a folder, the folder itself
    short_side: int  # px; 0: images stay as they are
    downloads: bool
    has_own_target: bool  # training must be told of it

    @property
    def given(self) -> str:
        """Returns the option with the target, for messages."""
        return f"--to={self.target}"


def read(given: Mapping[str, Any], words: Sequence[str]) -> Request:
    """Returns what is asked for.

    Raises:
      UsageError: an option is missing, or has no effect.
    """
    if words:
        raise UsageError(
            f"{words[0]}: prepare.py takes no recipe; give it to train.py afterwards"
        )
    name = given.get("name")
    if name is None:
        raise UsageError(f"NAME: is missing; there are {', '.join(NAMES)}")
    if name not in NAMES:
        raise UsageError(f"{name}: no such data set; {hints.choose(name, NAMES)}")
    source, downloads = given.get("from"), bool(given.get("download"))
    if name == "folder" and downloads:
        raise UsageError("--download: goes with published data sets; leave it out")
    if not source and not downloads:
        address = name in PUBLISHED and PUBLISHED[name].address
        fix = ", or --download to fetch them" if address else ""
        raise UsageError(f"--from=DIR: is missing; give the folder of the files{fix}")
    if source and not downloads and not os.path.exists(source):
        raise UsageError(
            f"--from={source}: no such folder; give the folder of the files"
        )
    if source and downloads:
        check_folder("--from", source)
    side = given.get("short_side", 0)
    if side and name not in SHRINKS:
        raise UsageError(
            f"--short_side={side}: goes with {' and '.join(SHRINKS)}; leave it out"
        )
    if side and side not in SIDES:
        raise UsageError(
            f"--short_side={side}: must be {SIDES[0]} to {SIDES[-1]} px; 256 suits "
            "most recipes"
        )
    target = given.get("to")
    if name == "folder" and not target:
        raise UsageError(
            f"--to=DIR: is missing; give a new folder, as {source}_records"
        )
    is_own = bool(target)
    target = target or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    check_folder("--to", os.path.expanduser(target))
    folder = Path(os.path.expanduser(source)) if source else cache_folder("data") / name
    to = Path(os.path.expanduser(target))
    return Request(name, folder, to, side, downloads, is_own)
