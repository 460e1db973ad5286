"""Which process of a run this is, by its options or by Slurm's variables.

A run has one process, or one for each task of ``srun``, or several that the user starts
with ``--coordinator``, ``--num_processes`` and ``--process_id``.
"""

import argparse
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from cnn_arch.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Process:
    """One process of a run."""

    index: int = 0
    count: int = 1  # of all processes
    coordinator: str | None = None  # HOST:PORT of process 0; None: JAX asks Slurm
    local_index: int = 0  # among the processes of this node, if Slurm started it
    local_count: int = 1  # processes on this node
    # Positions of its GPUs in CUDA_VISIBLE_DEVICES; None: JAX decides.
    gpus: tuple[int, ...] | None = None

    @property
    def writes(self) -> bool:
        """Whether this is the one process that writes files and lines."""
        return self.index == 0


ALONE = Process()
OPTIONS = "coordinator", "num_processes", "process_id"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the three options of processes that the user starts."""
    parser.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="address of process 0, for several processes started without srun",
    )
    parser.add_argument("--num_processes", metavar="N", help="number of processes")
    parser.add_argument("--process_id", metavar="I", help="this process, from 0")


def find(given: Mapping[str, Any], environment: Mapping[str, str]) -> Process:
    """Returns this process, by its options or else by Slurm's variables.

    Args:
      given: values of `OPTIONS` by their names; None: not given.
      environment: with Slurm's variables, if srun started the process.

    Raises:
      UsageError: options are missing or contradict each other, or the tasks of a node
        cannot share its GPUs evenly.
    """
    missing = [f"--{name}" for name in OPTIONS if given[name] is None]
    if not missing:
        return _by_options(*(given[name] for name in OPTIONS))
    if len(missing) < len(OPTIONS):
        name = next(name for name in OPTIONS if given[name] is not None)
        raise UsageError(
            f"--{name}={given[name]}: the three go together; add "
            f"{' and '.join(missing)}"
        )
    if "SLURM_STEP_NODELIST" not in environment:  # only srun sets it
        return ALONE
    count = int(environment["SLURM_STEP_NUM_TASKS"])
    if count == 1:
        return ALONE
    local_index = int(environment["SLURM_LOCALID"])
    local_count = tasks_on_node(environment)
    return Process(
        index=int(environment["SLURM_PROCID"]),
        count=count,
        local_index=local_index,
        local_count=local_count,
        gpus=_gpus_of_task(environment, local_index, local_count),
    )


def _by_options(coordinator: str, num_processes: str, process_id: str) -> Process:
    if not re.fullmatch(r".+:\d{1,5}", coordinator):
        raise UsageError(
            f"--coordinator={coordinator}: must be HOST:PORT, such as node1:29400"
        )
    if not num_processes.isdigit() or not int(num_processes):
        raise UsageError(f"--num_processes={num_processes}: must be 1 or more")
    count = int(num_processes)
    if not process_id.isdigit() or int(process_id) >= count:
        raise UsageError(
            f"--process_id={process_id}: must be one of 0 to {count - 1}, another for "
            "each process"
        )
    return Process(int(process_id), count, coordinator)


def tasks_on_node(environment: Mapping[str, str]) -> int:
    """Returns the number of this job step's tasks on this node; 1 without srun."""
    counts = []
    # ``2(x3),1``: three nodes with two tasks, one with one.
    for part in environment.get("SLURM_STEP_TASKS_PER_NODE", "1").split(","):
        tasks, _, times = part.rstrip(")").partition("(x")
        counts += [int(tasks)] * int(times or 1)
    return counts[int(environment.get("SLURM_NODEID", 0))]


def _gpus_of_task(
    environment: Mapping[str, str], local_index: int, local_count: int
) -> tuple[int, ...] | None:
    """Returns all GPUs that the task sees, or its share of the node's GPUs.

    JAX by itself takes one GPU, with the task's number on its node. It would use one of
    four GPUs of a single task, and none if each task sees its GPU as number 0.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES", "")
    if not visible:
        return None
    num_gpus = len(visible.split(","))
    is_bound = num_gpus < int(environment.get("SLURM_GPUS_ON_NODE", num_gpus))
    if is_bound or local_count == 1:
        return tuple(range(num_gpus))
    if num_gpus % local_count:
        raise UsageError(
            f"CUDA_VISIBLE_DEVICES={visible}: the {local_count} tasks of a node cannot "
            f"share {num_gpus} GPUs evenly; give --ntasks-per-node={num_gpus} or 1"
        )
    share = num_gpus // local_count
    return tuple(range(local_index * share, (local_index + 1) * share))
