"""How training scales to many devices, predicted: data parallel, and split.

A step takes the roofline of one device's share (``roofline``), the update of its
parameters, and its messages (``links``), whose bytes are read from the traced step.
Nothing is compiled, so that any number of devices can be asked about. There are two
bounds. Either no message overlaps computation; or the gradients travel while the
backward pass goes on, as in S. Li et al., "PyTorch Distributed: Experiences on
Accelerating Data Parallel Training", VLDB 2020. What a layer or a norm waits for never
overlaps.
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
from cnn_arch.costs.training_step import sees_image_only
from cnn_arch.errors import UsageError
from cnn_arch.scaling import message_time
from cnn_arch.scaling.collectives import GRADIENTS, Collective
from cnn_arch.scaling.message_time import Link
from cnn_arch.scaling.traced_messages import joined, traced_collectives

MOST_PARTS = 16  # devices that share a network, in the search for the best number
# SGD with momentum, float32: gradient, parameter and velocity read, two written.
UPDATE_BYTES = 5 * 4
MODES = "weak", "strong"


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A step on some devices.

    Attributes:
      mode: ``weak``: each device has the recipe's batch; ``strong``: all share it.
      data: devices that share the batch.
      model: devices that share the network.
      images: in a step, all devices together.
      compute_seconds: forward, backward and update.
      message_seconds: all messages.
      seconds: of a step in which nothing overlaps.
      overlapped_seconds: of one in which gradients travel during the backward pass.
      sent_bytes: by each device in a step.
      efficiency: images a second and device, over those of one device alone.
      overlapped_efficiency: the same with overlap.
    """

    mode: str
    data: int
    model: int
    images: int
    compute_seconds: float
    message_seconds: float
    seconds: float
    overlapped_seconds: float
    sent_bytes: float
    efficiency: float
    overlapped_efficiency: float

    @property
    def devices(self) -> int:
        """In all."""
        return self.data * self.model

    @property
    def images_per_second(self) -> float:
        """Without overlap."""
        return self.images / self.seconds

    def as_record(self) -> dict[str, Any]:
        """Returns all of it by name."""
        return {
            "devices": self.devices,
            **dataclasses.asdict(self),
            "images_per_second": self.images_per_second,
        }


@dataclasses.dataclass(frozen=True)
class Network:
    """What a prediction needs to know of a recipe, for some ``model`` devices.

    Attributes:
      rows: folded, of one image.
      split: the layers of which each of these devices has a part.
      parts: how many share the network.
      messages: of a step with one image a device: bytes of gathers and scatters grow
        with the images, those of sums of parameters and statistics do not.
      precision: of the activations.
    """

    rows: Sequence[LayerCost]
    split: tuple[str, ...]
    parts: int
    messages: Sequence[Collective]
    precision: str


def networks(config: ConfigDict, most_devices: int) -> list[Network]:
    """Returns the network whole, and split in all ways that it can be.

    Args:
      config: of the run; a ``mesh.model`` above 1 is the only split then.
      most_devices: that may share it.

    Raises:
      UsageError: the network cannot be split as the config says.
    """
    costs = costs_of_config(settings.derive(config, {"batch_size": 1}))
    rows = fold(costs.rows)
    layers = getattr(costs.model, "split_layers", ())
    asked = config.mesh.model
    splits = [asked] if asked > 1 else range(2, MOST_PARTS + 1) if layers else []
    found = []
    for parts in [1, *(parts for parts in splits if parts <= most_devices)]:
        one_each = settings.derive(config, {"batch_size": 2 * parts})
        try:
            messages = traced_collectives(one_each, 2, parts)
        except UsageError:
            if parts == asked:
                raise
            continue
        split = layers if parts > 1 else ()
        found.append(Network(rows, split, parts, messages, config.precision))
    return found


@dataclasses.dataclass(frozen=True)
class Setting:
    """What the devices are, and what they are given."""

    batch: int  # images of a device (weak scaling) or of all (strong)
    device: Device  # what computes
    link: Link  # over which every device sends


def predict(
    mode: str, network: Network, data: int, setting: Setting
) -> Prediction | None:
    """Predicts a step; None where the devices cannot share the batch.

    Args:
      mode: one of ``MODES``.
      network: of ``networks``, whole or split.
      data: devices that share the batch.
      setting: of the devices.
    """
    batch, device, link = setting.batch, setting.device, setting.link
    devices = data * network.parts
    images = batch * devices if mode == "weak" else batch
    if images % devices:
        return None
    forward, backward, update = _compute(network, images // devices, device)
    shape = {"data": data, "model": network.parts}
    waited, gradients, sent = 0.0, 0.0, 0.0
    for row in joined(network.messages, images // devices):
        size = math.prod(shape[axis] for axis in row.axes)
        taken = message_time.seconds(row.kind, row.bytes, size, link)
        sent += message_time.sent_bytes(row.kind, row.bytes, size)
        if row.layer == GRADIENTS:
            gradients += taken
        else:
            waited += taken
    compute = forward + backward + update
    slow = compute + waited + gradients
    fast = forward + waited + max(backward, gradients) + update
    alone = sum(_compute(whole(network), batch, device)) / batch
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
    """Predicts for each number of devices data parallelism and one split.

    That is the fastest of those that divide them, where nothing overlaps.
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


def whole(network: Network) -> Network:
    """Returns the network that is not split."""
    return dataclasses.replace(network, split=(), parts=1, messages=())


def _compute(
    network: Network, images: int, device: Device
) -> tuple[float, float, float]:
    """Returns the seconds of forward pass, backward pass and update on one device.

    Devices that share a network share the work on its images, too: each makes a part of
    a layer's features for all of them, or all features for a part of them.
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
        if row.name in gathered:  # it reads what all devices have made
            source = next(each for each in rows if each.name == row.inputs[0])
            name, size = f"{row.name} gathered", source.output_bytes * parts
            joined_maps = {"name": name, "kind": "concatenate", "output_bytes": size}
            rows.append(dataclasses.replace(source, **joined_maps, params=0))
            row = dataclasses.replace(row, inputs=(name,))
        rows.append(row)
    times = [floor.seconds for floor in floors(rows, device, network.precision)]
    first = {row.name for row in network.rows if sees_image_only(row, network.rows)}
    backward = sum(
        time * (1 if row.name in first else 2)
        for row, time in zip(rows, times, strict=True)
    )
    update = UPDATE_BYTES * sum(row.params for row in rows)
    return sum(times), backward, update / device.bandwidth


def sent_by_part(found: Sequence[Network], made: Prediction) -> dict[str, float]:
    """Returns the bytes that a device sends in a step, by what they are.

    Args:
      found: of ``networks``.
      made: of one of them.
    """
    network = next(each for each in found if each.parts == made.model)
    shape = {"data": made.data, "model": made.model}
    sent = dict.fromkeys(("activations", "norms and metrics"), 0.0)
    gradients = 0.0
    for row in joined(network.messages, made.images // made.devices):
        size = math.prod(shape[axis] for axis in row.axes)
        bytes_sent = message_time.sent_bytes(row.kind, row.bytes, size)
        if row.layer == GRADIENTS:
            gradients += bytes_sent
        elif row.kind == "all-reduce":
            sent["norms and metrics"] += bytes_sent
        else:
            sent["activations"] += bytes_sent
    dense = 0.0
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
