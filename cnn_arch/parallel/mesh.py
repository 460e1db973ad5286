"""The mesh of devices that a run computes on."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psutil
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict

from cnn_arch.errors import UsageError
from cnn_arch.parallel import processes


def make_mesh(data: int, model: int) -> Mesh:
    """Lays the devices out as ("data", "model").

    Args:
      data: parts of a batch; 0 for as many as there are devices for.
      model: devices that share a network, and with it a part of the batch.

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
    given = f"--config.mesh.data={data}" if data else f"--config.mesh.model={model}"
    if data and model > 1:
        given += f" --config.mesh.model={model}"
    if not data and model <= len(devices):
        data, idle = divmod(len(devices), model)
        if idle:
            raise UsageError(
                f"{given}: must divide the {len(devices)} devices; give the number of "
                f"such parts too: --config.mesh.data={data}"
            )
    if max(data, 1) * model > len(devices):
        raise UsageError(
            f"{given}: JAX sees {len(devices)} devices ({devices[0].platform})"
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
    num_devices = mesh.size
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


def shardings(tree: Any, model: Any, mesh: Mesh) -> Any:
    """Returns how arrays lie on the devices, as a tree of shardings.

    Every device holds all arrays whole, but for those of a network's ``split_layers``:
    of them each device of the "model" axis has its share of the features, the last
    axis. Momentum lies as its parameter does.

    Args:
      tree: of arrays or shapes, global ones: parameters or a state of training.
      model: the network.
      mesh: the devices.

    Raises:
      UsageError: the devices cannot share a layer's features evenly.
    """
    num_parts = mesh.shape["model"]
    layers = getattr(model, "split_layers", ()) if num_parts > 1 else ()

    def sharding(path: Any, leaf: Any) -> NamedSharding:
        split = [key.key for key in path if getattr(key, "key", None) in layers]
        if not split:
            return replicated(mesh)
        if leaf.shape[-1] % num_parts:
            raise UsageError(
                f"--config.mesh.model={num_parts}: must divide the {leaf.shape[-1]} "
                f"features of {split[0]}; write --config.mesh.model=1"
            )
        return NamedSharding(mesh, P(*[None] * (leaf.ndim - 1), "model"))

    return jax.tree_util.tree_map_with_path(sharding, tree)


def abstract(tree: Any, model: Any, mesh: Mesh) -> Any:
    """Returns the shapes of arrays, with how they lie on the devices.

    Args:
      tree: of arrays or shapes.
      model: the network that they are of; None: every device holds them whole.
      mesh: the devices.
    """
    return jax.tree.map(
        lambda leaf, sharding: leaf.update(sharding=sharding),
        tree,
        shardings(tree, model, mesh),
    )


def partition_specs(tree: Any, model: Any, mesh: Mesh) -> Any:
    """Returns the same for ``jax.shard_map``."""
    return jax.tree.map(lambda each: each.spec, shardings(tree, model, mesh))


def abstract_batch(config: ConfigDict, mesh: Mesh) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of a batch, spread over the "data" axis."""
    size, spread = config.data.image_size, NamedSharding(mesh, P("data"))
    shape = (config.batch_size, size, size, config.data.channels)
    return {
        "image": jax.ShapeDtypeStruct(shape, jnp.uint8, sharding=spread),
        "label": jax.ShapeDtypeStruct(shape[:1], jnp.int32, sharding=spread),
    }


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Spreads a batch over the "data" axis; each process gives its own share."""
    sharding = NamedSharding(mesh, P("data"))
    return {
        key: jax.make_array_from_process_local_data(sharding, value)
        for key, value in batch.items()
    }


def describe(mesh: Mesh) -> str:
    """Writes the devices in one line: ``cpu, 2 cores, 24 GiB``."""
    device, count = mesh.devices.flat[0], jax.process_count()
    data, model = mesh.shape["data"], mesh.shape["model"]
    each = f" ({data} x {model} that share the network)" if model > 1 else ""
    each += f", {count} processes" if count > 1 else ""
    if device.platform != "cpu":
        return f"{mesh.size} x {device.device_kind}{each}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    memory_gib = psutil.virtual_memory().total / 2**30
    virtual = f", as {mesh.size} devices{each}" if mesh.size > 1 else ""
    return f"cpu, {cores or os.cpu_count()} cores, {memory_gib:.0f} GiB{virtual}"


def available_bytes(mesh: Mesh) -> int | None:
    """Returns the memory that one device has for a program, or None if unknown."""
    devices = mesh.local_devices
    if devices[0].platform == "cpu":
        num_sharing = len(devices) * processes.num_on_this_host()
        return psutil.virtual_memory().available // num_sharing
    return (devices[0].memory_stats() or {}).get("bytes_limit")
