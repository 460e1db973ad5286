"""The processes of a run: how they find each other, and what they tell each other.

A run has one process, or one for each task that ``srun`` starts, or those that are
started by hand with ``--coordinator``, ``--num_processes`` and ``--process_id``. All of
them execute the same program; process 0 alone writes. Nothing here imports JAX before
`start`, so that the first line of a run is on the screen at once.
"""

import argparse
import dataclasses
import functools
import json
import os
import re
import socket
from collections.abc import Mapping
from typing import Any

import numpy as np

from cnn_arch.errors import UsageError

HEARTBEAT_SECONDS = 15  # without one of a process, all others end
CONNECT_SECONDS = 120  # for which a process waits until all others have started
_PAD_BYTES = 1024  # messages are multiples of it: one compiled program for most


@dataclasses.dataclass(frozen=True)
class Process:
    """One process of a run.

    Attributes:
      index: from 0.
      count: of all processes.
      coordinator: HOST:PORT at which process 0 listens; None: JAX asks Slurm.
      local_index: among the processes of this node, where Slurm tells.
      local_count: of the processes on this node.
      gpus: those of ``CUDA_VISIBLE_DEVICES``, by place, that are this process's; None:
        JAX decides.
    """

    index: int = 0
    count: int = 1
    coordinator: str | None = None
    local_index: int = 0
    local_count: int = 1
    gpus: tuple[int, ...] | None = None

    @property
    def writes(self) -> bool:
        """Whether this is the one process that writes files and lines."""
        return self.index == 0


ALONE = Process()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the three options of the plain launcher."""
    parser.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="where process 0 listens, for several processes that srun does not start",
    )
    parser.add_argument("--num_processes", metavar="N", help="how many there are")
    parser.add_argument("--process_id", metavar="I", help="which this is, from 0")


def find(options: argparse.Namespace, environment: Mapping[str, str]) -> Process:
    """Returns this process, by its options or else by Slurm's variables.

    Args:
      options: of `add_options`.
      environment: of the process.

    Raises:
      UsageError: options are missing or contradict each other, or the tasks of a node
        cannot share its GPUs evenly.
    """
    names = "coordinator", "num_processes", "process_id"
    missing = [f"--{name}" for name in names if getattr(options, name) is None]
    if not missing:
        return _by_options(*(getattr(options, name) for name in names))
    if len(missing) < len(names):
        given = next(name for name in names if f"--{name}" not in missing)
        raise UsageError(
            f"--{given}={getattr(options, given)}: the three go together; add "
            f"{' and '.join(missing)}"
        )
    if "SLURM_STEP_NODELIST" not in environment:  # set by srun alone
        return ALONE
    count = int(environment["SLURM_STEP_NUM_TASKS"])
    if count == 1:
        return ALONE
    local_index = int(environment["SLURM_LOCALID"])
    local_count = _tasks_on_node(environment)
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


def _tasks_on_node(environment: Mapping[str, str]) -> int:
    """Reads ``2(x3),1``: three nodes with two tasks, one with one."""
    counts = []
    for part in environment["SLURM_STEP_TASKS_PER_NODE"].split(","):
        tasks, _, times = part.rstrip(")").partition("(x")
        counts += [int(tasks)] * int(times or 1)
    return counts[int(environment["SLURM_NODEID"])]


def _gpus_of_task(
    environment: Mapping[str, str], local_index: int, local_count: int
) -> tuple[int, ...] | None:
    """Returns all GPUs that the task sees, or its share of the node's.

    JAX by itself takes the one GPU whose number is that of the task on its node: one of
    four where one task has four, and none where each task sees its own as number 0.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES", "")
    num_gpus = len(visible.split(",")) if visible else 0
    if not num_gpus:
        return None
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


def start(process: Process) -> None:
    """Connects this process with the others, before JAX opens its devices.

    Raises:
      UsageError: they cannot be reached.
    """
    if process.count == 1:
        return
    if process.local_count > 1 and hasattr(os, "sched_setaffinity"):
        _share_cores(process)
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    given: dict[str, Any] = {}
    if process.coordinator:
        given = {
            "coordinator_address": process.coordinator,
            "num_processes": process.count,
            "process_id": process.index,
            "cluster_detection_method": "deactivate",
        }
    try:
        jax.distributed.initialize(
            **given,
            local_device_ids=process.gpus,
            initialization_timeout=CONNECT_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except Exception as error:  # whatever the service's library raises
        where = process.coordinator or os.environ.get("SLURM_STEP_NODELIST")
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"--coordinator={where}: process {process.index} of {process.count} "
            f"cannot meet the others ({reason}); start all of them, with one free port"
        ) from error
    if process.gpus is None and process.local_count == 1:
        jax.config.update("jax_cuda_visible_devices", "all")


def _share_cores(process: Process) -> None:
    """Leaves each process of a node its part of the cores, unless Slurm has."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == os.cpu_count() and len(cores) >= process.local_count:
        os.sched_setaffinity(0, cores[process.local_index :: process.local_count])


def check_mesh(mesh: Any) -> None:
    """Checks that every process has work.

    Raises:
      UsageError: a process has no device in the mesh.
    """
    import jax

    count, num_devices = jax.process_count(), len(jax.devices())
    if count > 1 and mesh.size < num_devices:
        raise UsageError(
            f"--config.mesh.data={mesh.shape['data']}: {count} processes have "
            f"{num_devices} devices, and all must be used; write --config.mesh.data=0, "
            "or start fewer processes"
        )


def check_same(what: str, value: str) -> None:
    """Checks that what this process has found is what process 0 has.

    Raises:
      UsageError: it is something else.
    """
    values = gather(value)
    for index, other in enumerate(values):
        if other != values[0]:
            raise UsageError(
                f"process {index}: {what} there differs from that of process 0; give "
                "all processes the same"
            )


def check_alone(given: str) -> None:
    """Checks that there is one process only.

    Raises:
      UsageError: there are several.
    """
    import jax

    if jax.process_count() > 1:
        raise UsageError(f"{given}: is for one process; start no others")


def batch_share(mesh: Any) -> tuple[int, int]:
    """Returns which part of a batch this process loads, and of how many parts.

    Processes whose devices lie at the same places of the "data" axis load the same.
    """
    import jax

    index = jax.process_index()
    places = [
        place
        for place, devices in enumerate(mesh.devices)
        if any(device.process_index == index for device in devices.flat)
    ]
    return places[0] // len(places), len(mesh.devices) // len(places)


def from_first(value: Any) -> Any:
    """Returns process 0's value, which JSON can hold, on every process."""
    return gather(value)[0]


def gather(value: Any) -> list[Any]:
    """Returns the values of all processes, which JSON can hold, on every process."""
    import jax
    from jax.experimental import multihost_utils

    if jax.process_count() == 1:
        return [value]
    message = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.int32(len(message)))
    padded_size = -(-int(sizes.max()) // _PAD_BYTES) * _PAD_BYTES
    padded = np.zeros(padded_size, np.uint8)
    padded[: len(message)] = message
    messages = multihost_utils.process_allgather(padded)
    return [
        json.loads(messages[index, :size].tobytes()) for index, size in enumerate(sizes)
    ]


@functools.cache
def num_on_this_host() -> int:
    """Returns how many of the processes share this machine's memory."""
    return gather(socket.gethostname()).count(socket.gethostname())


def largest(number: int) -> Any:
    """Starts to compare a number over all processes, without waiting for the result.

    All processes call this equally often between the same two steps.

    Args:
      number: of this process, an int32.

    Returns:
      The largest, as a scalar: a jax.Array that is the same on every process.
    """
    import jax

    if jax.process_count() == 1:
        return number
    maximum, sharding = _maximum()
    own = np.array([number], np.int32)
    return maximum(jax.make_array_from_process_local_data(sharding, own))


@functools.cache
def _maximum() -> tuple[Any, Any]:
    """Returns the compiled comparison and how its argument is spread."""
    import jax
    from jax.sharding import Mesh, NamedSharding
    from jax.sharding import PartitionSpec as P

    firsts = {device.process_index: device for device in reversed(jax.devices())}
    devices = np.array([firsts[index] for index in range(jax.process_count())])
    mesh = Mesh(devices, "process")
    maximum = jax.jit(lambda x: x.max(), out_shardings=NamedSharding(mesh, P()))
    return maximum, NamedSharding(mesh, P("process"))
