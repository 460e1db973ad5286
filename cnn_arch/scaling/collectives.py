"""Reads the messages between devices in a training step from the compiled program.

The step is compiled for virtual devices of this CPU, so a laptop shows the messages of
a cluster. Nothing is computed and no parameter is allocated.
"""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cnn_arch.costs.xla import flops_of
from cnn_arch.training.program import Program

KEYS = "kind", "axes", "layer", "pass", "bytes", "inserted_by"
GRADIENTS = "gradients"  # the scope in step.py that averages the gradients

_OPERATION = re.compile(
    r"= (?P<shape>.+?) (?P<kind>all-gather|all-reduce|reduce-scatter|collective-permute"
    r"|collective-broadcast|ragged-all-to-all|all-to-all)\("
)
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")
_PATH = re.compile(r'op_name="([^"]*)"')
# The first line of a function, a call in a line, and the number of rounds of a loop.
_HEAD = re.compile(r"(ENTRY )?%?([\w.-]+) \(.*\{$")
_CALL = re.compile(r"(body|calls|to_apply)=%?([\w.-]+)")
_ROUNDS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
# Parts of an operation's path that are not scopes.
_WRAPPER = re.compile(
    r"|shard_map|while|body|cond|closed_call|checkpoint|rematted_computation"
    r"|custom_vjp_call|branch_\w+|eval_jaxpr|\w+\.apply(_in_loop)?|.*\(.*"
)


@dataclasses.dataclass(frozen=True)
class Collective:
    """The arrays of one layer in one message."""

    kind: str  # XLA's name: all-gather, all-reduce, reduce-scatter, all-to-all, ...
    axes: tuple[str, ...]  # of the mesh, along which devices exchange; () if along none
    layer: str  # the module's path, or the scope in the step: gradients, metrics
    direction: str  # forward or backward; gradients belong to the backward pass
    # Of the whole array that the devices of a group share, once: the result of an
    # all-gather, the operand of a reduce-scatter, either of an all-reduce. The share
    # that crosses a link depends on the algorithm (see message_time).
    bytes: int
    # us, or XLA's partitioner, which moves data to the device that needs it.
    inserted_by: str

    def as_record(self) -> dict[str, Any]:
        """Returns the fields by their names in JSON, ``KEYS``."""
        values = dataclasses.asdict(self) | {"axes": list(self.axes)}
        return dict(zip(KEYS, values.values(), strict=True))


def open_virtual_devices(count: int) -> None:
    """Makes JAX open this number of virtual CPU devices, and no others.

    Call this before JAX opens any device. It overrides the number in ``XLA_FLAGS``.
    """
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", count)


def trace_step(config: ConfigDict, mesh: Any, *, loops: bool) -> Any:
    """Traces a recipe's training step.

    The mesh may be an ``AbstractMesh`` of any size; ``loops`` is as in ``build_model``.
    """
    num_classes = config.data.num_classes or 1000
    return Program(config, num_classes, mesh, loops=loops).trace()


def device_flops(config: ConfigDict, mesh: Mesh) -> int | None:
    """Returns XLA's count of one device's FLOPs in a step; compiles nothing."""
    return flops_of(trace_step(config, mesh, loops=False).lower().cost_analysis())


def of_config(config: ConfigDict, mesh: Mesh) -> list[Collective]:
    """Compiles a recipe's step and lists its messages.

    On the CPU, XLA exchanges bfloat16 numbers as float32, which doubles their bytes. It
    sends equal gradients only once: if the outputs of two norms are added, the
    gradients of their shifts are equal.
    """
    lowered = trace_step(config, mesh, loops=True).lower()
    # LLVM's optimisation takes longest, and changes no message.
    compiled = lowered.compile({"xla_backend_optimization_level": 0})
    return find(compiled.as_text(), mesh.shape)


def find(program: str, mesh_shape: Mapping[str, int]) -> list[Collective]:
    """Lists the collective operations of a program, in its order.

    XLA joins small messages into larger ones. A message with arrays of several layers
    gives one row for each layer. A message in a loop is listed once for each round.

    Args:
      program: text of a compiled module for CPUs, which has no asynchronous pairs.
      mesh_shape: sizes of the mesh's axes by name, in order.
    """
    found = []
    for line, times in _executed(program):
        if not (operation := _OPERATION.search(line)):
            continue
        kind = operation["kind"]
        groups = _groups(line, math.prod(mesh_shape.values()))
        sizes = [_num_bytes(*array) for array in _ARRAY.findall(operation["shape"])]
        if kind == "reduce-scatter":  # its result is one device's share
            sizes = [size * len(groups[0]) for size in sizes]
        path = _PATH.search(line)
        places = [place_of(part) for part in _parts(path[1] if path else "")]
        if len(places) != len(sizes):
            places = places[:1] * len(sizes)
        rows: Counter[tuple[str, str]] = Counter()
        for place, size in zip(places, sizes, strict=True):
            rows[place] += size
        if kind == "collective-permute":
            axes = _differing(groups, mesh_shape)
        else:
            axes = _axes(groups, mesh_shape)
        by = "partitioner" if 'is_spmd_generated="true"' in line else "us"
        found += [
            Collective(kind, axes, layer, direction, size, by)
            for (layer, direction), size in rows.items()
        ] * times
    return found


def _executed(program: str) -> list[tuple[str, int]]:
    """Returns the lines of a program, each with the number of its executions.

    A program is a list of functions, each before its callers. A loop whose number of
    rounds XLA does not know counts as one round.
    """
    lines: list[tuple[str, str]] = []
    callers: dict[str, list[tuple[str, int]]] = {}
    function = entry = ""
    for line in program.splitlines():
        if head := _HEAD.match(line):
            function = head[2]
            entry = function if head[1] else entry
        rounds = _ROUNDS.search(line)
        for word, called in _CALL.findall(line):
            number = int(rounds[1]) if rounds and word == "body" else 1
            callers.setdefault(called, []).append((function, number))
        lines.append((function, line))
    times = {entry: 1}
    for function, _ in reversed(lines):
        if function not in times:
            calls = callers.get(function, [(entry, 1)])
            times[function] = sum(number * times.get(by, 0) for by, number in calls)
    return [(line, times[function] if entry else 1) for function, line in lines]


def _num_bytes(dtype: str, bits: str, dimensions: str) -> int:
    """Returns the bytes of an array such as ``f32[96,11]`` or ``pred[]``."""
    size = math.prod(int(length) for length in dimensions.split(",") if length)
    return size if dtype == "pred" else size * int(bits) // 8


def _parts(path: str) -> list[str]:
    """Returns the path of each array of a message, or one path that all share.

    A joined message has the common prefix in front: ``jit(step)/(conv1/psum:psum)``.
    """
    joined = re.fullmatch(r"(.*?/)?\((.*)\)", path)
    if not joined:
        return [path]
    return [f"{joined[1] or ''}{part}" for part in joined[2].split(":")]


def place_of(path: str) -> tuple[str, str]:
    """Returns layer and pass of an operation by its path.

    Example: ``jit(step)/shard_map/transpose(jvp(ResNet))/conv2_1/bn1/psum``.
    """
    *parts, _ = path.split("/")
    scopes = [part for part in parts if not _WRAPPER.fullmatch(part)]
    backward = "transpose(" in path or scopes[:1] == [GRADIENTS]
    return "/".join(scopes), "backward" if backward else "forward"


def _groups(line: str, num_devices: int) -> list[list[int]]:
    """Returns the groups of devices that exchange data; of a permute, the pairs.

    XLA writes groups as a list, ``{{0,1},{2,3}}``; as consecutive numbers, reshaped and
    transposed, ``[2,2]<=[2,2]T(1,0)``; or as axes, ``mesh['a'=2,'b'=2] {'a'}``.
    """
    if mesh := re.search(r"replica_groups=mesh\[(.*?)\] \{(.*?)\}", line):
        sizes = re.findall(r"'(\w+)'=(\d+)", mesh[1])
        shape = {name: int(size) for name, size in sizes}
        return _along(shape, re.findall(r"'(\w+)'", mesh[2]))
    iota = r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?"
    if found := re.search(iota, line):
        to, shape, order = (
            [int(n) for n in part.split(",")] if part else None
            for part in found.groups()
        )
        devices: Any = np.arange(num_devices).reshape(shape).transpose(order)
        return devices.reshape(to).tolist()
    listed = re.search(r"(?:replica_groups|source_target_pairs)=\{(\{.*?\})\}", line)
    if not listed:
        return [list(range(num_devices))]
    return [
        [int(n) for n in group.split(",")]
        for group in re.findall(r"\{([\d,]+)\}", listed[1])
    ]


def _along(mesh_shape: Mapping[str, int], axes: Sequence[str]) -> list[list[int]]:
    """Returns the groups of devices of a mesh that differ only along these axes."""
    names, lengths = list(mesh_shape), tuple(mesh_shape.values())
    devices: Any = np.arange(math.prod(lengths)).reshape(lengths)
    inner = [names.index(name) for name in axes]
    moved = np.moveaxis(devices, inner, range(-len(axes), 0))
    size = math.prod(mesh_shape[name] for name in axes)
    return moved.reshape(-1, size).tolist()


def _axes(
    groups: Sequence[Sequence[int]], mesh_shape: Mapping[str, int]
) -> tuple[str, ...]:
    """Returns the axes of a mesh along which these are the groups of devices."""
    wanted = {frozenset(group) for group in groups}
    names = [name for name, size in mesh_shape.items() if size > 1]
    for count in range(1, len(names) + 1):
        for axes in combinations(names, count):
            if {frozenset(group) for group in _along(mesh_shape, axes)} == wanted:
                return axes
    return ()


def _differing(
    pairs: Sequence[Sequence[int]], mesh_shape: Mapping[str, int]
) -> tuple[str, ...]:
    """Returns the axes of a mesh along which the devices of some pair differ."""
    ends = np.array(np.unravel_index(np.array(pairs), tuple(mesh_shape.values())))
    differ = (ends[..., 0] != ends[..., 1]).any(axis=1)
    return tuple(name for name, moves in zip(mesh_shape, differ, strict=True) if moves)
