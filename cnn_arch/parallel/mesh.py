"""The mesh of devices that a run computes on."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psutil
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from cnn_arch import installation
from cnn_arch.errors import UsageError
from cnn_arch.parallel import cores, memory, processes
from cnn_arch.units import counted


def make_mesh(data: int, model: int) -> Mesh:
    """Lays the devices out as ("data", "model").

    Args:
      data: parts of a batch; 0: as many as possible.
      model: devices that share a network and the same part of the batch.

    Raises:
      UsageError: there are too few devices, or none of the chosen platform; or one of
        several processes has no device in the mesh.
    """
    try:
        devices = jax.devices()
    except (RuntimeError, AssertionError):  # JAX asserts that there is a backend
        wanted = os.environ.get("JAX_PLATFORMS", "")
        raise UsageError(
            f"JAX_PLATFORMS={wanted}: JAX finds no such device; unset it to use what "
            f"there is, or let '{installation.DOCTOR}' show what is missing"
        ) from None
    given = f"--config.mesh.data={data}" if data else f"--config.mesh.model={model}"
    if data and model > 1:
        given += f" --config.mesh.model={model}"
    num_devices = len(devices)
    if not data:
        data, idle = divmod(num_devices, model)
        if data and idle:
            raise UsageError(
                f"{given}: must divide the {num_devices} devices; or use fewer with "
                f"--config.mesh.data={data}"
            )
    if not 0 < data * model <= num_devices:
        raise UsageError(
            f"{given}: JAX finds {num_devices} devices ({devices[0].platform}); leave"
            f" {'them' if data and model > 1 else 'it'} out to use all"
        )
    if processes.count() > 1 and data * model < num_devices:
        raise UsageError(
            f"--config.mesh.data={data}: {processes.count()} processes have "
            f"{num_devices} devices, and all must be used; write --config.mesh.data=0, "
            "or start fewer processes"
        )
    return jax.make_mesh(
        (data, model),
        ("data", "model"),
        axis_types=(AxisType.Auto,) * 2,
        devices=devices[: data * model],
    )


def check_batch_size(batch_size: int, mesh: Mesh, accumulate: int = 1) -> None:
    """Checks that the devices can share each part of a batch evenly.

    Raises:
      UsageError: they cannot; the message names the nearest possible sizes.
    """
    unit = mesh.size * accumulate
    below = batch_size // unit * unit
    if batch_size == below:
        return
    above = below + unit
    nearest = f"nearest are {below} and {above}" if below else f"nearest is {above}"
    parts = f"{unit}, accumulate={accumulate} times " if accumulate > 1 else ""
    raise UsageError(
        f"--config.batch_size={batch_size}: must be a multiple of {parts}the "
        f"{counted(mesh.size, 'device')}; {nearest}"
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of an array that every device has whole."""
    return NamedSharding(mesh, P())


def partition_specs(tree: Any, model: Any, mesh: Mesh) -> Any:
    """Returns how a tree of parameters, or a training state, is split over the mesh.

    Arrays of the network's ``split_layers`` are split along their last axis, the
    features, over the mesh axis "model"; so is their momentum. Every device has all
    other arrays whole; without a network (None), all arrays. Shapes are global.

    Raises:
      UsageError: the devices cannot share a layer's features evenly.
    """
    num_parts = mesh.shape["model"]
    layers = getattr(model, "split_layers", ()) if num_parts > 1 else ()

    def spec(path: Any, leaf: Any) -> P:
        split = [key.key for key in path if getattr(key, "key", None) in layers]
        if not split:
            return P()
        if leaf.shape[-1] % num_parts:
            raise UsageError(
                f"--config.mesh.model={num_parts}: must divide the {leaf.shape[-1]} "
                f"features of {split[0]}; write --config.mesh.model=1"
            )
        return P(*[None] * (leaf.ndim - 1), "model")

    return jax.tree_util.tree_map_with_path(spec, tree)


def abstract(tree: Any, model: Any, mesh: Mesh) -> Any:
    """Returns a tree of shapes with the shardings by ``partition_specs``."""
    return jax.tree.map(
        lambda leaf, spec: leaf.update(sharding=NamedSharding(mesh, spec)),
        tree,
        partition_specs(tree, model, mesh),
    )


def abstract_batch(
    shape: tuple[int, ...], mesh: Mesh
) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns a batch of images [B, H, W, C] that is split over the "data" axis."""
    split = NamedSharding(mesh, P("data"))
    return {
        "image": jax.ShapeDtypeStruct(shape, jnp.uint8, sharding=split),
        "label": jax.ShapeDtypeStruct(shape[:1], jnp.int32, sharding=split),
    }


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Splits a batch over the "data" axis; each process passes its own share."""
    sharding = NamedSharding(mesh, P("data"))
    return {
        key: jax.make_array_from_process_local_data(sharding, value)
        for key, value in batch.items()
    }


def describe(mesh: Mesh) -> str:
    """Describes the devices in one line: ``cpu, 2 cores, 24 GiB``."""
    device, count = mesh.devices.flat[0], processes.count()
    data, model = mesh.shape["data"], mesh.shape["model"]
    each = f" ({data} x {model} that share the network)" if model > 1 else ""
    each += f", {count} processes" if count > 1 else ""
    if device.platform != "cpu":
        return f"{mesh.size} x {device.device_kind}{each}"
    memory_gib = psutil.virtual_memory().total / 2**30
    virtual = f", as {mesh.size} devices{each}" if mesh.size > 1 else ""
    usable = counted(cores.usable(), "core")
    return f"cpu, {usable}, {memory_gib:.0f} GiB{virtual}"


def available_bytes(mesh: Mesh) -> int | None:
    """Returns the memory of one device for a program, or None if unknown."""
    devices = mesh.local_devices
    if devices[0].platform == "cpu":
        num_sharing = len(devices) * processes.num_on_this_host()
        return memory.available() // num_sharing
    return (devices[0].memory_stats() or {}).get("bytes_limit")
