"""Communication between the processes of a run.

All processes execute the same program; only process 0 writes files and lines. This
module does not import JAX before `start`: the first line of a run appears at once.
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

from cnn_arch.errors import UsageError
from cnn_arch.parallel.launcher import Process
from cnn_arch.screen import one_line, prepare_streams, put

HEARTBEAT_SECONDS = 20  # all processes end if one gives no sign of life for so long
CONNECT_SECONDS = 120  # the time in which all processes must start
START_ALL = "start all of them at once, with the same free port on the first's host"
# The errors of the communication libraries contain one of these names.
_OF_OTHERS = "Gloo", "NCCL", "coordination service", "CoordinationService"
_PAD_BYTES = 1024  # messages are multiples of it: most need only one compiled program


def start(process: Process) -> None:
    """Connects this process with the others, before JAX opens its devices.

    Raises:
      UsageError: another process cannot be reached or has more or fewer devices.
    """
    if process.count == 1:
        return
    if process.local_count > 1 and hasattr(os, "sched_setaffinity"):
        _share_cores(process)
    # Gloo prints to stdout, which belongs to the results: send that to stderr.
    sys.stdout = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding)
    prepare_streams()
    os.dup2(2, 1)
    import jax

    where = process.coordinator or os.environ.get("SLURM_STEP_NODELIST")
    missed = (
        f"--coordinator={where}: process {process.index} of {process.count} cannot "
        "connect to the others"
    )
    # JAX would end the process without a message that a user understands.
    timer = threading.Timer(CONNECT_SECONDS, _end, [missed])
    timer.start()
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # JAX's service would take over SIGTERM.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            process.coordinator,  # None: JAX takes it from Slurm
            process.count,
            process.index,
            local_device_ids=process.gpus,
            cluster_detection_method="deactivate" if process.coordinator else None,
            initialization_timeout=2 * CONNECT_SECONDS,  # the timer ends it before
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except Exception as error:  # the service's library raises several types
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{missed} ({reason}); {START_ALL}") from error
    finally:
        timer.cancel()
    if process.gpus is None and process.local_count == 1:
        jax.config.update("jax_cuda_visible_devices", "all")
    _check_equal_shares(process.count)


def _check_equal_shares(count: int) -> None:
    """Checks that all processes have the same number of devices."""
    import jax

    try:
        owners = Counter(device.process_index for device in jax.devices())
    except (RuntimeError, AssertionError):  # make_mesh reports it
        return
    fewest, most = min(owners.values()), max(owners.values())
    if fewest < most:
        raise UsageError(
            f"{count} processes: have {fewest} to {most} devices; give all of them "
            "equally many"
        )
    gather(None)  # no process may fail and end before all others have come this far


def _end(missed: str) -> NoReturn:
    """Ends a process that has waited too long for the others."""
    message = one_line(f"{missed} in {CONNECT_SECONDS} s; {START_ALL}")
    put(f"error: {message}", sys.stderr)
    os._exit(UsageError.exit_status)


def _share_cores(process: Process) -> None:
    """Gives each process of a node its own cores, unless Slurm has done so."""
    cores = sorted(os.sched_getaffinity(0))
    # A task that Slurm has not bound sees all cores of the node, or of the job there.
    unbound = os.cpu_count(), int(os.environ.get("SLURM_CPUS_ON_NODE", 0))
    if len(cores) in unbound and len(cores) >= process.local_count:
        os.sched_setaffinity(0, cores[process.local_index :: process.local_count])


def index() -> int:
    """Returns this process's place in the run; opens no device, as JAX's own does."""
    import jax

    return jax.process_index() if jax.distributed.is_initialized() else 0


def count() -> int:
    """Returns the number of processes of the run; opens no device."""
    import jax

    return jax.process_count() if jax.distributed.is_initialized() else 1


def check_same(what: str, value: str) -> None:
    """Checks that a value is the same on all processes.

    Raises:
      UsageError: a process has another value than process 0.
    """
    values = gather(value)
    for index, other in enumerate(values):
        if other != values[0]:
            raise UsageError(
                f"process {index}: {what} differs from process 0's; give all processes "
                "the same"
            )


def check_alone(given: str) -> None:
    """Checks that the run has one process.

    Raises:
      UsageError: it has several.
    """
    if count() > 1:
        raise UsageError(f"{given}: is for one process; start no others")


def explain_loss(error: BaseException) -> str | None:
    """Returns a message if an error means that another process is gone."""
    text = " ".join(str(error).split())
    if not any(name in text for name in _OF_OTHERS):
        return None
    return f"another process of the run has ended, or cannot be reached ({text[:200]})"


def batch_share(mesh: Any) -> tuple[int, int]:
    """Returns which part of a batch this process loads, and the number of parts.

    Processes with devices at the same places of the "data" axis load the same part.
    """
    own = index()
    places = [
        place
        for place, devices in enumerate(mesh.devices)
        if any(device.process_index == own for device in devices.flat)
    ]
    assert places == list(range(places[0], places[0] + len(places))), places
    return places[0] // len(places), len(mesh.devices) // len(places)


def from_first(value: Any) -> Any:
    """Returns the value of process 0, a JSON value, on every process."""
    return gather(value)[0]


def union(names: Collection[str]) -> set[str]:
    """Returns the names that any process has."""
    return set().union(*gather(sorted(names)))


def gather(value: Any) -> list[Any]:
    """Returns the values of all processes, JSON values, on every process.

    `start` calls this first: at their first exchange, processes on CPUs wait for each
    other no longer than 30 seconds.
    """
    import numpy as np  # not at the top, for --help
    from jax.experimental import multihost_utils

    if count() == 1:
        return [value]
    message = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.int32(len(message)))
    padded_size = -(-int(sizes.max()) // _PAD_BYTES) * _PAD_BYTES
    padded = np.pad(message, (0, padded_size - len(message)))
    messages = multihost_utils.process_allgather(padded)
    return [
        json.loads(messages[index, :size].tobytes()) for index, size in enumerate(sizes)
    ]


@functools.cache
def num_on_this_host() -> int:
    """Returns how many processes of the run share this machine's memory."""
    return gather(socket.gethostname()).count(socket.gethostname())
