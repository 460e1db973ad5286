"""What is said when a save has failed: the cause, and what to do."""

import errno
from pathlib import Path
from typing import Any

import jax

from cnn_arch.errors import RunError, UsageError
from cnn_arch.files import free_bytes
from cnn_arch.parallel import processes

_NO_SPACE = errno.ENOSPC, errno.EDQUOT, errno.EFBIG


def not_saved(
    error: BaseException, directory: Path, step: int, items: Any, last: int | None
) -> RunError:
    """Returns the error of a save that left no checkpoint.

    ``items`` are the shapes to save; ``last`` is the newest step on the disk.
    """
    start = "starts again" if last is None else f"continues from step {last}"
    fix = f"the same command {start}"
    error = _first_cause(error)
    if lost := processes.explain_loss(error):
        return RunError(f"{lost}; checkpoint at step {step} was not saved, {fix}")
    needed = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(items))
    free = free_bytes(directory)
    # orbax's own errors have no number; of several processes, another may be the cause.
    may_be_short = getattr(error, "errno", None) in (None, *_NO_SPACE)
    if may_be_short and (processes.count() == 1 or free < 2 * needed):
        needs = f"it needs {needed / 2**20:.1f} MiB and {free / 2**20:.1f} MiB are free"
        fix = f"{needs}; {fix}"
    return RunError(
        f"checkpoint at step {step}: not saved to {directory}, {_reason(error)}; {fix}"
    )


def not_confirmed(error: OSError, directory: Path, step: int) -> RunError:
    """Returns the error of a save that is complete, but perhaps not on the disk."""
    return RunError(
        f"checkpoint at step {step}: written to {directory}, but the disk does not "
        f"confirm it ({error.strerror}); check the disk, then repeat the command: it "
        f"continues from step {step}, or from an older one if that is damaged"
    )


def unknown(which: str | int, directory: Path, steps: list[int]) -> UsageError:
    """Returns the error of a step that does not exist."""
    return UsageError(
        f"--checkpoint={which}: no such checkpoint in {directory}; steps there: "
        f"{', '.join(map(str, steps)) or 'none'}"
    )


def _first_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _reason(error: BaseException) -> str:
    """Returns the reason of an error without the paths before it."""
    reason = str(error).partition(" [")[0].rpartition(": ")[2]
    return getattr(error, "strerror", None) or reason
