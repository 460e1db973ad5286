"""The folders in a directory of checkpoints: names, order, retention, deletion.

``STEP`` is a complete checkpoint. ``STEP-replaced`` is one until the step is saved
again. ``STEP-deleted`` and orbax's ``STEP.orbax-checkpoint-tmp`` are never one. Files
and folders of other names are never changed.
"""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from cnn_arch.checkpoints.fingerprint import DamageError, read_record

_NUM_LAST = 2  # if the newest is damaged, one is left
_STEP = re.compile(r"(\d+)(-replaced)?")
_LEFTOVER = re.compile(r"\d+(-deleted|\.orbax-checkpoint-tmp)")


def find_steps(directory: Path) -> dict[int, Path]:
    """Returns the folder of each step, oldest first."""
    steps = {}
    for path in _folders(directory, _STEP):  # STEP comes before STEP-replaced
        steps.setdefault(int(path.name.removesuffix("-replaced")), path)
    return dict(sorted(steps.items()))


def find_best(steps: dict[int, Path]) -> int | None:
    """Returns the step of the lowest validation error, the last of equals."""
    errors = {}
    for step, path in steps.items():
        try:
            error = read_record(path)["validation_error"]
        except DamageError:
            continue
        if error is not None:
            errors[step] = error
    return min(errors, key=lambda step: (errors[step], -step), default=None)


def make_room(directory: Path, step: int) -> None:
    """Frees the names for a save of this step; an older save of it still counts."""
    directory.mkdir(parents=True, exist_ok=True)
    remove_leftovers(directory)
    path = directory / str(step)
    if path.is_dir():
        replaced = directory / f"{step}-replaced"
        if replaced.is_dir():
            _discard(replaced)
        path.rename(replaced)


def sync_to_disk(path: Path) -> None:
    """Waits until a folder, its files and its own name are on the disk."""
    for folder, _, files in os.walk(path):
        for name in [*files, "."]:
            _sync(Path(folder, name))
    _sync(path.parent)


def retain(directory: Path, newest: int, warn: Callable[[str], None]) -> None:
    """Deletes all steps except the last two up to the newest, and the best of these.

    Later steps exist after a run has continued from an older step.
    """
    steps = {
        step: path for step, path in find_steps(directory).items() if step <= newest
    }
    best = find_best(steps)
    kept = [steps[step] for step in {*list(steps)[-_NUM_LAST:], best} if step in steps]
    try:
        _link(directory / "last", steps[newest])
        if best is not None:
            _link(directory / "best", steps[best])
    except OSError as error:
        warn(f"{directory}: links not updated ({error.strerror})")
    for path in _folders(directory, _STEP):
        if path not in kept:
            try:
                _discard(path)
            except OSError as error:
                warn(f"{path}: not deleted ({error.strerror}); it is no longer needed")


def remove_leftovers(directory: Path) -> None:
    """Deletes the remains of interrupted saves and deletions, and ignores errors."""
    for path in _folders(directory, _LEFTOVER):
        shutil.rmtree(path, ignore_errors=True)


def _folders(directory: Path, pattern: re.Pattern[str]) -> list[Path]:
    """Returns the folders whose names match, sorted by name; no links."""
    return sorted(
        path
        for path in directory.glob("[0-9]*")
        if pattern.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    )


def _discard(path: Path) -> None:
    """Renames a step, then deletes it: an interruption leaves no partial step."""
    deleted = path.with_name(path.name.removesuffix("-replaced") + "-deleted")
    path.rename(deleted)
    shutil.rmtree(deleted)


def _link(link: Path, target: Path) -> None:
    """Points a link to a folder next to it, atomically."""
    new = link.with_name(f"{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target.name)
    new.replace(link)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
