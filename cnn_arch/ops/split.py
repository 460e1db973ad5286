"""What devices that share a network send each other.

A network is per-device code. Inside the ``jax.shard_map`` of a step, these functions
read from the mesh how many devices share the network, and the place of this one.
Outside, when a program initialises parameters, traces shapes or counts costs, there is
one device, which has all features and sends nothing: the parameters' shapes do not
depend on the mesh.

Each transfer is in the named scope of the layer that needs it, which the compiled
program records. The backward pass runs the transpose of each transfer.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

import jax
import jax.numpy as jnp
from jax import lax

MODEL = "model"  # the mesh axis of the devices that share a network
DATA = "data"  # the mesh axis of the devices that share a batch
ALL = (DATA, MODEL)
Axes = str | tuple[str, ...]  # of the mesh

# Which part of the batch is computed: its number, and the number of all parts.
_part: ContextVar[tuple[jax.Array | int, int]] = ContextVar("part", default=(0, 1))


def num_parts() -> int:
    """Returns the number of devices that share the network."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh.shape[MODEL] if MODEL in mesh.manual_axes else 1


def place(*axes: str) -> jax.Array | int:
    """Returns the index of this device along some axes of the mesh, row by row."""
    manual = jax.sharding.get_abstract_mesh().manual_axes
    axes = tuple(axis for axis in axes if axis in manual)
    return lax.axis_index(axes) if axes else 0


@contextmanager
def part_of_batch(index: jax.Array | int, count: int) -> Generator[None, None, None]:
    """Makes a network, while it is traced, compute one of ``count`` parts of a batch.

    A part has every ``count``-th row of the whole batch, from row ``index`` on: the
    same images on any number of devices.
    """
    token = _part.set((index, count))
    try:
        yield
    finally:
        _part.reset(token)


def batch_rows(number: int, *axes: str) -> jax.Array:
    """Returns the places in the whole batch of this device's ``number`` rows."""
    rows = place(*axes) * number + jnp.arange(number)
    index, count = _part.get()
    return rows * count + index if count > 1 else rows


def all_features(x: jax.Array, layer: str) -> jax.Array:
    """Gathers the features of all devices for a layer: [..., C / parts] -> [..., C]."""
    return _gather(x, layer, axis=-1)


def all_rows(x: jax.Array, layer: str) -> jax.Array:
    """Gathers the rows of all devices for a layer: [B / parts, ...] -> [B, ...]."""
    return _gather(x, layer, axis=0)


def _gather(x: jax.Array, layer: str, axis: int) -> jax.Array:
    if num_parts() == 1:
        return x
    with jax.named_scope(layer):
        return lax.all_gather(x, MODEL, axis=axis % x.ndim, tiled=True)


def own_rows(x: jax.Array) -> jax.Array:
    """Returns this device's share of its batch: [B, ...] -> [B / parts, ...]."""
    return _own(x, axis=0)


def own_features(x: jax.Array) -> jax.Array:
    """Returns this device's share of features: [..., C] -> [..., C / parts]."""
    return _own(x, axis=-1)


def _own(x: jax.Array, axis: int) -> jax.Array:
    parts = num_parts()
    if parts == 1:
        return x
    size = x.shape[axis] // parts
    return lax.dynamic_slice_in_dim(x, place(MODEL) * size, size, axis)
