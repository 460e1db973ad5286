"""The mesh of devices that a run computes on."""

import os

import jax
import numpy as np
import psutil
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from cnn_arch.doctor import nvidia_driver_found
from cnn_arch.errors import UsageError


def make_mesh(data: int, model: int) -> Mesh:
    """Lays the devices out as ("data", "model").

    Args:
      data: devices that share a batch; 0 for all there are.
      model: devices that share a network.

    Raises:
      UsageError: there are not so many devices, or none of the kind asked for.
    """
    try:
        devices = jax.devices()
    except (RuntimeError, AssertionError):  # JAX asserts that there is a backend
        wanted = os.environ.get("JAX_PLATFORMS", "")
        raise UsageError(
            f"JAX_PLATFORMS={wanted}: JAX finds no such device; unset it to use what "
            "there is, or see what is missing with 'make doctor'"
        ) from None
    if model > 1:
        raise UsageError(
            f"--config.mesh.model={model}: no network here can be split; "
            "write --config.mesh.model=1"
        )
    data = data or len(devices)
    if data > len(devices):
        raise UsageError(
            f"--config.mesh.data={data}: JAX sees {len(devices)} devices "
            f"({devices[0].platform})"
        )
    return jax.make_mesh(
        (data, model),
        ("data", "model"),
        axis_types=(AxisType.Auto,) * 2,
        devices=devices[: data * model],
    )


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Checks that the devices can share a batch evenly.

    Raises:
      UsageError: they cannot; the message names the nearest sizes that they can.
    """
    num_devices = mesh.shape["data"]
    below = batch_size // num_devices * num_devices
    if batch_size == below:
        return
    above = below + num_devices
    nearest = f"nearest are {below} and {above}" if below else f"nearest is {above}"
    raise UsageError(
        f"--config.batch_size={batch_size}: must be a multiple of the {num_devices} "
        f"devices; {nearest}"
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what every device holds whole."""
    return NamedSharding(mesh, P())


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Spreads a batch over the "data" axis; each process gives its own share."""
    sharding = NamedSharding(mesh, P("data"))
    return {
        key: jax.make_array_from_process_local_data(sharding, value)
        for key, value in batch.items()
    }


def describe(mesh: Mesh) -> str:
    """Writes the devices in one line: ``cpu, 2 cores, 24 GiB``."""
    device = mesh.devices.flat[0]
    if device.platform != "cpu":
        return f"{mesh.size} x {device.device_kind}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    memory_gib = psutil.virtual_memory().total / 2**30
    virtual = f", as {mesh.size} devices" if mesh.size > 1 else ""
    return f"cpu, {cores or os.cpu_count()} cores, {memory_gib:.0f} GiB{virtual}"


def unused_gpu(mesh: Mesh) -> str | None:
    """Returns a warning where there is an NVIDIA card that JAX does not use."""
    wanted = os.environ.get("JAX_PLATFORMS", "")
    if mesh.devices.flat[0].platform != "cpu" or "cpu" in wanted:
        return None
    if not nvidia_driver_found():
        return None
    return (
        "there is an NVIDIA card that JAX cannot see; "
        "pip install -r requirements-cuda.txt, then 'make doctor'"
    )


def available_bytes(mesh: Mesh) -> int | None:
    """Returns the memory that one device has for a program, or None if unknown."""
    device = mesh.devices.flat[0]
    if device.platform == "cpu":
        return psutil.virtual_memory().available // mesh.size
    return (device.memory_stats() or {}).get("bytes_limit")
