"""Keeps orbax off the screen, and lets it take every path as it is."""

import functools
import glob
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orbax.checkpoint import v1 as ocp

_ORBAX = "orbax/checkpoint"  # part of the file names of its code
_EtilsPath: Any = type(ocp.path.Path())  # of local paths


class LiteralPath(_EtilsPath):
    """A path for orbax, in which ``[``, ``*`` and ``?`` are ordinary characters.

    When orbax commits a save, it searches the folder with a pattern. etils puts the
    folder itself into the pattern, so files in ``runs [old]`` would not be found, and
    in ``run*`` another run's files would be taken for this one's.
    """

    _uri_scheme = None  # etils takes /gs/, /s3/, /az/ and /hf/ for a cloud's storage

    def glob(self, pattern: str) -> Iterator[Path]:
        """Yields the files in this folder that match."""
        folder = glob.escape(os.fspath(self))
        return map(type(self), glob.iglob(os.path.join(folder, pattern)))


def context_with_json(*items: str) -> ocp.Context:
    """Returns the settings of a quiet orbax that writes these items as JSON."""
    _quieten_orbax()
    registry = ocp.handlers.local_registry()
    for item in items:  # by default, orbax stores their numbers as arrays
        registry.add(ocp.handlers.JsonHandler, checkpointable_name=item)
    context = ocp.Context()
    context.checkpointables.registry = registry
    # If a folder cannot be made in the background, orbax's other threads wait for it,
    # 20 minutes long. In the foreground, the call fails at once.
    context.async_options.create_directories_asynchronously = False
    return context


@functools.cache  # once per process
def _quieten_orbax() -> None:
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
