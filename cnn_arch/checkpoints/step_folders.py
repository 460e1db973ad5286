"""The folders in a directory of checkpoints: names, order, retention, deletion.

``STEP`` is a complete checkpoint. ``STEP-replaced`` is one until the step is saved
again. ``STEP-deleted`` and orbax's ``STEP.orbax-checkpoint-tmp`` are never one. Files
and folders of other names or with other content are never changed.
"""

import errno
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from cnn_arch.checkpoints.fingerprint import DamageError, read_record

_NUM_LAST = 2  # if the newest is damaged, one is left
_NUMBER = r"(?:0|[1-9][0-9]{0,9})"  # as int32 is written; a folder 007 is not ours
_STEP = re.compile(rf"{_NUMBER}(-replaced)?")
_LEFTOVER = re.compile(rf"{_NUMBER}(-deleted|\.orbax-checkpoint-tmp)")
# A damaged checkpoint has at least one of these; a folder 2026 of the user has none.
_CONTENT = "params", "opt_state", "record", "config", "_CHECKPOINT_METADATA"
# A disk that cannot confirm what is on it, such as some network disks.
_NO_FSYNC = errno.EINVAL, errno.ENOTSUP, errno.ENOSYS


def find_steps(directory: Path) -> dict[int, Path]:
    """Returns the folder of each step, oldest first."""
    steps = {}
    for path in _folders(directory, _STEP):  # STEP comes before STEP-replaced
        if _is_checkpoint(path):
            steps.setdefault(int(path.name.removesuffix("-replaced")), path)
    return dict(sorted(steps.items()))


def find_best(steps: dict[int, Path], known: Mapping[int, float] | None) -> int | None:
    """Returns the step of the lowest validation error, the last of equals.

    It may be damaged: another step does not become the best by that.

    Args:
      steps: the folder of each step.
      known: the error of each validated step, for a step whose record is damaged. None:
        they are not known, so such a step may be the best.
    """
    errors = {}
    for step, path in steps.items():
        try:
            error = read_record(path)["validation_error"]
        except DamageError:
            error = -math.inf if known is None else known.get(step)
        if error is not None:
            errors[step] = error
    return min(errors, key=lambda step: (errors[step], -step), default=None)


def make_room(directory: Path, step: int) -> None:
    """Frees the names for a save of this step; an older save of it still counts.

    Raises:
      OSError: something else has the name, or the disk refuses.
    """
    directory.mkdir(parents=True, exist_ok=True)
    remove_leftovers(directory)
    path = directory / str(step)
    if not path.is_symlink() and _is_checkpoint(path):
        replaced = directory / f"{step}-replaced"
        if replaced.is_dir():
            _discard(replaced)
        path.rename(replaced)
    elif not path.is_symlink() and path.is_dir() and not os.listdir(path):
        path.rmdir()  # a machine that lost its power may leave an empty folder
    elif path.is_symlink() or path.exists():
        raise OSError(errno.EEXIST, f"{step} there is not a checkpoint; move it away")


def sync_to_disk(path: Path) -> None:
    """Waits until a folder, its files and its own name are on the disk."""
    for folder, _, files in os.walk(path):
        for name in [*files, "."]:
            _sync(Path(folder, name))
    _sync(path.parent)


def tidy(
    directory: Path,
    newest: int,
    known: Mapping[int, float] | None,
    warn: Callable[[str], None],
) -> None:
    """Renews the links, and deletes what is no longer needed.

    The last two steps up to the newest stay, and the best of these. Later steps exist
    after a run has continued from an older step. A kill may leave any of this undone.
    """
    remove_leftovers(directory)
    steps = {
        step: path for step, path in find_steps(directory).items() if step <= newest
    }
    best = find_best(steps, known)
    kept = [steps[step] for step in {*list(steps)[-_NUM_LAST:], best} if step in steps]
    try:
        _link(directory / "last", steps[newest])
        if best is not None:
            _link(directory / "best", steps[best])
    except OSError as error:
        warn(f"{directory}: links not updated ({error.strerror})")
    for path in filter(_is_checkpoint, _folders(directory, _STEP)):
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


def _is_checkpoint(path: Path) -> bool:
    """Whether a folder is a checkpoint, whole or damaged."""
    return any((path / name).exists() for name in _CONTENT)


def _discard(path: Path) -> None:
    """Renames a step, then deletes it: an interruption leaves no partial step."""
    deleted = path.with_name(path.name.removesuffix("-replaced") + "-deleted")
    path.rename(deleted)
    shutil.rmtree(deleted)


def _link(link: Path, target: Path) -> None:
    """Points a link to a folder next to it, atomically."""
    if link.is_symlink() and os.readlink(link) == target.name:
        return
    new = link.with_name(f"{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target.name)
    new.replace(link)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise
    finally:
        os.close(descriptor)
