"""Keeps off the screen what orbax tells besides its exceptions."""

import functools
import logging
import sys
import warnings

_ORBAX = "orbax/checkpoint"  # in the file names of its code


@functools.cache  # once in a process
def quieten_orbax() -> None:
    """Drops orbax's log lines, and what it leaves behind when a read fails.

    It abandons the reads of the other arrays then, and Python complains of those later.
    Nothing is lost: whatever orbax fails at it raises as well.
    """
    for name in ("absl", "asyncio"):
        logging.getLogger(name).addFilter(_is_not_of_orbax)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    shown = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        code = getattr(unraisable.object, "cr_code", None)  # of a coroutine
        of_orbax = _ORBAX in getattr(code, "co_filename", "")
        if not of_orbax and str(unraisable.exc_value) != "Event loop is closed":
            shown(unraisable)

    sys.unraisablehook = hook


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
    return _ORBAX not in record.pathname + record.getMessage()
