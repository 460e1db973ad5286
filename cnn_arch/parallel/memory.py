"""The memory that this process may still use."""

import re
from collections.abc import Iterable
from pathlib import Path

import psutil

from cnn_arch.parallel import control_groups


def available() -> int:
    """Returns the bytes that are free: on the machine, and within a job's limit."""
    free = psutil.virtual_memory().available
    within = limit(control_groups.folders())
    return free if within is None else min(free, within)


def limit(groups: Iterable[Path]) -> int | None:
    """Returns the bytes that some control groups still allow; None: any number."""
    found = []
    for folder in groups:
        try:
            most = int((folder / "memory.max").read_text())
            used = int((folder / "memory.current").read_text())
            statistics = (folder / "memory.stat").read_text()
        except (OSError, ValueError):
            continue  # there is no limit: no such file, or "max"
        # Files that were read stay in memory until it is needed.
        files = re.search(r"^inactive_file (\d+)$", statistics, re.M)
        found.append(max(0, most - used + (int(files[1]) if files else 0)))
    return min(found, default=None)
