"""Lists the messages of a training step on a mesh of any size, from its trace.

Nothing is compiled, and the mesh is abstract: 256 devices take no longer than two.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

from jax.sharding import AbstractMesh, AxisType
from ml_collections import ConfigDict

from cnn_arch import settings
from cnn_arch.costs.walk import inner_jaxpr
from cnn_arch.ops.platform import plain_forms
from cnn_arch.scaling.collectives import Collective, place_of, trace_step

KINDS = {
    "psum": "all-reduce",
    "pmax": "all-reduce",
    "pmin": "all-reduce",
    "all_gather": "all-gather",
    "reduce_scatter": "reduce-scatter",
    "all_to_all": "all-to-all",
    "ppermute": "collective-permute",
}


def traced_collectives(config: ConfigDict, data: int, model: int) -> list[Collective]:
    """Lists the messages of a recipe's step, one row for each operation of the trace.

    Args:
      config: of the run; its mesh is ignored.
      data: devices that share a batch.
      model: devices that share a network.

    Raises:
      UsageError: the network cannot be split in this way.
    """
    config = settings.derive(config, {"mesh.data": data, "mesh.model": model})
    mesh = AbstractMesh((data, model), ("data", "model"), (AxisType.Auto,) * 2)
    with plain_forms():
        traced = trace_step(config, mesh, loops=False)
    found: list[Collective] = []
    _walk(traced.jaxpr.jaxpr, "", mesh, found)
    return found


def _walk(jaxpr: Any, scope: str, mesh: Any, found: list[Collective]) -> None:
    for equation in jaxpr.eqns:
        path = "/".join(filter(None, [scope, str(equation.source_info.name_stack)]))
        if inner := inner_jaxpr(equation):
            _walk(inner, path, mesh, found)
        if not (kind := KINDS.get(equation.primitive.name)):
            continue
        axes = equation.params.get("axes", equation.params.get("axis_name"))
        if not isinstance(axes, tuple):
            axes = (axes,)
        axes = tuple(axis for axis in axes if mesh.shape[axis] > 1)
        layer, direction = place_of(f"{path}/{equation.primitive.name}")
        sides = equation.outvars if kind == "all-gather" else equation.invars
        size = sum(side.aval.size * side.aval.dtype.itemsize for side in sides)
        if axes:
            found.append(Collective(kind, axes, layer, direction, size, "us"))


def joined(messages: Sequence[Collective], images: int) -> list[Collective]:
    """Returns the messages of a step; joins the sums of one scope, as XLA does.

    Args:
      messages: of one image for each device.
      images: of each device.
    """
    rows: list[Collective] = []
    sums: Counter[Collective] = Counter()
    for row in messages:
        if row.kind == "all-reduce":  # of parameters or statistics, for any batch
            sums[dataclasses.replace(row, bytes=0)] += row.bytes
        else:
            rows.append(dataclasses.replace(row, bytes=row.bytes * images))
    return rows + [dataclasses.replace(row, bytes=size) for row, size in sums.items()]
