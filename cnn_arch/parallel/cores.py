"""The processor cores that this process may use; found without other packages."""

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from cnn_arch.parallel import control_groups
from cnn_arch.parallel.launcher import tasks_on_node

PER_TASK, ON_NODE = SLURM_COUNTS = "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"


def usable() -> int:
    """Counts the cores that the process may use: at least 1.

    They may be fewer than the machine's: by ``taskset`` or a scheduler's binding, by
    the limit of a container, or by what Slurm has assigned to the task.
    """
    counts = [
        os.cpu_count() or 1,
        assigned(os.environ),
        limit(control_groups.folders()),
    ]
    if hasattr(os, "sched_getaffinity"):
        counts.append(len(os.sched_getaffinity(0)))
    return max(1, min(count for count in counts if count is not None))


def assigned(environment: Mapping[str, str]) -> int | None:
    """Returns the number of this task's cores by Slurm's variables, or None."""
    if environment.get(PER_TASK, "").isdigit():
        return int(environment[PER_TASK])
    if environment.get(ON_NODE, "").isdigit():
        return int(environment[ON_NODE]) // tasks_on_node(environment)
    return None


def limit(groups: Iterable[Path]) -> int | None:
    """Returns the lowest limit of control groups, rounded up; None: there is none."""
    limits = []
    for folder in groups:
        try:
            quota, period = (folder / "cpu.max").read_text().split()
            limits.append(math.ceil(int(quota) / int(period)))
        except (OSError, ValueError, ZeroDivisionError):
            pass  # there is no limit: no such file, or "max"
    return min(limits, default=None)
