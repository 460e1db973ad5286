"""Predicts how training scales to many devices: data parallel, and split.

The time of a step is the minimum time of one device's share (``roofline``), the update
of its parameters, and its messages (``message_time``), whose bytes come from the traced
step. Nothing is compiled, so any number of devices is possible.

There are two bounds: either no message overlaps computation, or the gradients travel
during the backward pass, as in S. Li et al., "PyTorch Distributed: Experiences on
Accelerating Data Parallel Training", VLDB 2020. A message that a layer or a norm waits
for never overlaps.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from cnn_arch import settings
from cnn_arch.analysis.roofline import Device, floors
from cnn_arch.costs.blocks import fold
from cnn_arch.costs.layers import LayerCost, costs_of_config
from cnn_arch.costs.training_step import first_layers
from cnn_arch.errors import UsageError
from cnn_arch.scaling import message_time
from cnn_arch.scaling.collectives import GRADIENTS, Collective
from cnn_arch.scaling.message_time import Link
from cnn_arch.scaling.traced_messages import joined, traced_collectives

MOST_PARTS = 16  # the largest number of devices to share a network that is tried
# For each parameter, float32. SGD with momentum reads gradient, parameter and velocity,
# and writes the last two.
UPDATE_BYTES = 5 * 4
MODES = "weak", "strong"


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A step on some devices."""

    mode: str  # weak: each device has the recipe's batch; strong: all share it
    data: int  # devices that share the batch
    model: int  # devices that share the network
    images: int  # in a step, on all devices together
    compute_seconds: float  # forward, backward and update
    message_seconds: float  # all messages
    seconds: float  # of a step without overlap
    overlapped_seconds: float  # if the gradients travel during the backward pass
    sent_bytes: float  # by each device in a step
    efficiency: float  # images a second of a device / of a single device
    overlapped_efficiency: float  # the same with overlap

    @property
    def devices(self) -> int:
        """The number of all devices."""
        return self.data * self.model

    @property
    def images_per_second(self) -> float:
        """The speed of all devices together, without overlap."""
        return self.images / self.seconds

    def as_record(self) -> dict[str, Any]:
        """Returns all numbers by name."""
        return {
            "devices": self.devices,
            **dataclasses.asdict(self),
            "images_per_second": self.images_per_second,
        }


@dataclasses.dataclass(frozen=True)
class Network:
    """A recipe's network, shared by ``parts`` devices."""

    rows: Sequence[LayerCost]  # folded, of one image
    split: tuple[str, ...]  # the layers of which each device has a part
    parts: int  # number of devices that share the network
    messages: Sequence[Collective]  # of a step with one image for each device
    precision: str  # of the activations


def networks(config: ConfigDict, most_devices: int) -> list[Network]:
    """Returns the network whole, and split in all possible ways.

    Args:
      config: of the run; if ``mesh.model`` is above 1, it is the only split.
      most_devices: the largest number that may share it.

    Raises:
      UsageError: the network cannot be split as the config requires.
    """
    costs = costs_of_config(settings.derive(config, {"batch_size": 1}))
    rows = fold(costs.rows)
    layers = getattr(costs.model, "split_layers", ())
    required = config.mesh.model
    splits = [required] if required > 1 else range(2, MOST_PARTS + 1) if layers else []
    found = []
    for parts in [1, *(parts for parts in splits if parts <= most_devices)]:
        one_each = settings.derive(config, {"batch_size": 2 * parts})
        try:
            messages = traced_collectives(one_each, 2, parts)
        except UsageError:
            if parts == required:
                raise
            continue
        split = layers if parts > 1 else ()
        found.append(Network(rows, split, parts, messages, config.precision))
    return found


@dataclasses.dataclass(frozen=True)
class Setting:
    """The devices and their batch."""

    batch: int  # images of each device (weak scaling) or of all together (strong)
    device: Device
    link: Link


def predict(
    mode: str, network: Network, data: int, setting: Setting
) -> Prediction | None:
    """Predicts a step, or returns None if the devices cannot share the batch evenly.

    ``data`` is the number of devices that share the batch.
    """
    batch, device, link = setting.batch, setting.device, setting.link
    devices = data * network.parts
    images = batch * devices if mode == "weak" else batch
    if images % devices:
        return None
    forward, backward, update = _compute(network, images // devices, device)
    waited, gradients, sent = 0.0, 0.0, 0.0  # seconds, seconds, bytes
    for row, size in _messages(network, data, images // devices):
        taken = message_time.seconds(row.kind, row.bytes, size, link)
        sent += message_time.sent_bytes(row.kind, row.bytes, size)
        if row.layer == GRADIENTS:
            gradients += taken
        else:
            waited += taken
    compute = forward + backward + update
    slow = compute + waited + gradients
    fast = forward + waited + max(backward, gradients) + update
    whole = dataclasses.replace(network, split=(), parts=1, messages=())
    alone = sum(_compute(whole, batch, device)) / batch  # seconds of an image
    return Prediction(
        mode,
        data,
        network.parts,
        images,
        compute_seconds=compute,
        message_seconds=waited + gradients,
        seconds=slow,
        overlapped_seconds=fast,
        sent_bytes=sent,
        efficiency=alone * images / devices / slow,
        overlapped_efficiency=alone * images / devices / fast,
    )


def predict_all(
    found: Sequence[Network], numbers: Sequence[int], setting: Setting
) -> list[Prediction]:
    """Predicts data parallelism and the fastest split for each number of devices.

    A split must divide the number of devices; times are compared without overlap.
    """
    predictions = []
    for mode in MODES:
        for devices in numbers:
            made = [
                predict(mode, network, devices // network.parts, setting)
                for network in found
                if devices % network.parts == 0
            ]
            made = [each for each in made if each]
            split = [each for each in made if each.model > 1]
            predictions += [each for each in made if each.model == 1]
            predictions += sorted(split, key=lambda each: each.seconds)[:1]
    return predictions


def _messages(network: Network, data: int, images: int) -> list[tuple[Collective, int]]:
    """Returns each message of a step, and the number of devices that exchange it."""
    shape = {"data": data, "model": network.parts}
    return [
        (row, math.prod(shape[axis] for axis in row.axes))
        for row in joined(network.messages, images)
    ]


def _compute(
    network: Network, images: int, device: Device
) -> tuple[float, float, float]:
    """Returns the seconds of forward pass, backward pass and update on one device.

    Devices that share a network also share the work on its images: each computes a part
    of a layer's features for all images, or all features for a part of the images.
    """
    parts = network.parts
    gathered = {row.layer for row in network.messages if row.kind == "all-gather"}
    rows: list[LayerCost] = []
    for row in network.rows:
        part = parts if row.name.partition("/")[0] in network.split else 1
        row = dataclasses.replace(
            row,
            macs=row.macs * images,
            other_operations=row.other_operations * images,
            output_bytes=row.output_bytes * images,
            params=row.params / part,
        )
        if row.name in gathered:  # it reads the outputs of all devices
            source = next(each for each in rows if each.name == row.inputs[0])
            name, size = f"{row.name} gathered", source.output_bytes * parts
            joined_maps = {"name": name, "kind": "concatenate", "output_bytes": size}
            rows.append(dataclasses.replace(source, **joined_maps, params=0))
            row = dataclasses.replace(row, inputs=(name,))
        rows.append(row)
    times = [floor.seconds for floor in floors(rows, device, network.precision)]
    first = first_layers(network.rows)
    backward = sum(
        time * (1 if row.name in first else 2)
        for row, time in zip(rows, times, strict=True)
    )
    update = UPDATE_BYTES * sum(row.params for row in rows)
    return sum(times), backward, update / device.bandwidth


def sent_by_part(found: Sequence[Network], made: Prediction) -> dict[str, float]:
    """Returns the bytes that a device sends in a predicted step, by their content."""
    network = next(each for each in found if each.parts == made.model)
    sent = {"activations": 0.0, "norms and metrics": 0.0}
    gradients = dense = 0.0
    for row, size in _messages(network, made.data, made.images // made.devices):
        bytes_sent = message_time.sent_bytes(row.kind, row.bytes, size)
        if row.layer == GRADIENTS:
            gradients += bytes_sent
        elif row.kind == "all-reduce":
            sent["norms and metrics"] += bytes_sent
        else:
            sent["activations"] += bytes_sent
    for row in network.rows:
        if row.kind == "dense":
            split = row.name in network.split
            size = 4 * row.params // (network.parts if split else 1)
            group = made.data if split else made.devices
            dense += message_time.sent_bytes("all-reduce", size, group)
    return {
        "gradients of convolutions": gradients - dense,
        "gradients of dense layers": dense,
        **sent,
    }
