"""What the processes of a run tell each other.

All of them execute the same program; process 0 alone writes. Nothing here imports JAX
before `start`, so that the first line of a run is on the screen at once.
"""

import functools
import json
import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Collection
from typing import Any, NoReturn

import numpy as np

from cnn_arch.errors import UsageError
from cnn_arch.parallel.launcher import Process

HEARTBEAT_SECONDS = 20  # without one of a process, all others end
CONNECT_SECONDS = 120  # for which a process waits until all others have started
START_ALL = "start all of them at once, with the same free port on the first's host"
# What the libraries of collectives and of barriers name in their errors.
_OF_OTHERS = "Gloo", "NCCL", "coordination service", "CoordinationService"
_PAD_BYTES = 1024  # messages are multiples of it: one compiled program for most


def start(process: Process) -> None:
    """Connects this process with the others, before JAX opens its devices.

    Raises:
      UsageError: they cannot be reached, or have other numbers of devices.
    """
    if process.count == 1:
        return
    if process.local_count > 1 and hasattr(os, "sched_setaffinity"):
        _share_cores(process)
    # The collectives' library tells on stdout that it is connected.
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import jax

    where = process.coordinator or os.environ.get("SLURM_STEP_NODELIST")
    missed = (
        f"--coordinator={where}: process {process.index} of {process.count} cannot "
        "meet the others"
    )
    # JAX would end the process without a word that a user understands.
    timer = threading.Timer(CONNECT_SECONDS, _end, [missed])
    timer.start()
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # handles SIGTERM alone
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
            initialization_timeout=2 * CONNECT_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except Exception as error:  # whatever the service's library raises
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{missed} ({reason}); {START_ALL}") from error
    finally:
        timer.cancel()
    if process.gpus is None and process.local_count == 1:
        jax.config.update("jax_cuda_visible_devices", "all")
    _check_equal_shares(process.count)


def _check_equal_shares(count: int) -> None:
    """Checks that all processes have equally many devices."""
    import jax

    try:
        owners = Counter(device.process_index for device in jax.devices())
    except (RuntimeError, AssertionError):  # make_mesh says what is missing
        return
    fewest, most = min(owners.values()), max(owners.values())
    if fewest < most:
        raise UsageError(
            f"{count} processes: have {fewest} to {most} devices; give all of them "
            "equally many"
        )
    gather(None)  # none ends, whatever it may find wrong, before all have come so far


def _end(missed: str) -> NoReturn:
    """Ends a process that has waited too long for the others."""
    waited = f"in {CONNECT_SECONDS} s"
    print(f"error: {missed} {waited}; {START_ALL}", file=sys.stderr, flush=True)
    os._exit(UsageError.exit_status)


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


def explain_loss(error: BaseException) -> str | None:
    """Returns in words that another process is gone, if that is what an error is of."""
    text = " ".join(str(error).split())
    if not any(name in text for name in _OF_OTHERS):
        return None
    return f"another process of the run has ended, or cannot be reached ({text[:200]})"


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
    assert places == list(range(places[0], places[0] + len(places))), places
    return places[0] // len(places), len(mesh.devices) // len(places)


def from_first(value: Any) -> Any:
    """Returns process 0's value, which JSON can hold, on every process."""
    return gather(value)[0]


def union(names: Collection[str]) -> set[str]:
    """Returns the names that any process has."""
    return set().union(*gather(sorted(names)))


def gather(value: Any) -> list[Any]:
    """Returns the values of all processes, which JSON can hold, on every process.

    First called by `start`: on CPUs, devices that exchange something for the first time
    wait for each other no longer than 30 seconds.
    """
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
