"""Hides orbax's messages from the screen; its exceptions remain."""

import functools
import logging
import sys
import warnings

_ORBAX = "orbax/checkpoint"  # part of the file names of its code


@functools.cache  # once per process
def quieten_orbax() -> None:
    """Hides orbax's log lines and Python's complaints about its abandoned reads.

    When one read fails, orbax abandons the reads of the other arrays. No information
    is lost: orbax raises every failure as an exception too.
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
