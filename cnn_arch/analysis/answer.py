"""Counts and measures one network for analyze.py."""

from typing import Any

from ml_collections import ConfigDict

from cnn_arch import settings
from cnn_arch.analysis import roofline
from cnn_arch.analysis.roofline import Floor
from cnn_arch.costs import blocks, training_step
from cnn_arch.costs.layers import costs_of_config
from cnn_arch.costs.summary import totals
from cnn_arch.costs.xla import reported_xla_flops
from cnn_arch.parallel.runtime import open_devices
from cnn_arch.screen import Screen

Record = dict[str, Any]
UNAVAILABLE = "unavailable"  # a number that XLA or a device does not report


class Answer:
    """The results for one network, added part by part."""

    def __init__(self, config: ConfigDict, screen: Screen, *, on_device: bool):
        """Counts the layers.

        Args:
          config: one image size, batch and precision of a network.
          screen: shows the steps that take long.
          on_device: something will be compiled or measured.

        Raises:
          UsageError: the image is too small, or there is no such network.
        """
        self._config = settings.derive(config, {"mesh.data": 1, "mesh.model": 1})
        self._screen = screen
        self._mesh = open_devices(self._config, screen) if on_device else None
        self._costs = costs_of_config(config)
        self.rows = self._costs.rows  # the layers
        self.floors: list[Floor] = []  # of each layer; empty until ``add_roofline``
        reported, data = reported_xla_flops(self._costs.traced), config.data
        self.record: Record = {  # all other results, as plain values
            "model": config.model.name,
            "input": [
                config.batch_size,
                data.image_size,
                data.image_size,
                data.channels,
            ],
            "precision": config.precision,
            "totals": {
                **totals(self.rows),
                "xla_flops": UNAVAILABLE if reported is None else reported,
                "xla_flops_expected": self._costs.xla_flops_expected,
            },
        }

    def add_training(self, memory_bytes: int | None, *, compiled: bool) -> None:
        """Counts a training step.

        Args:
          memory_bytes: adds the largest batch that fits in this memory.
          compiled: adds the memory of the compiled step: ``xla_argument_bytes`` of
            state and batch, and ``xla_temporary_bytes``.
        """
        counted = training_step.of_config(self._config, self._costs)
        record: Record = dict(training_step.as_record(counted, memory_bytes))
        self.record["training"] = record
        if not compiled:
            return
        with self._screen.timed("compile", "training step"):
            analysis: Any = self._program().trace().lower().compile().memory_analysis()
        for name, field in (("argument", "argument_size"), ("temporary", "temp_size")):
            size = getattr(analysis, f"{field}_in_bytes", UNAVAILABLE)
            record[f"xla_{name}_bytes"] = size

    def fold(self) -> None:
        """Adds the costs of activations and BatchNorm to the layers before them."""
        self.rows = blocks.fold(self.rows)

    def add_roofline(self, name: str) -> None:
        """Adds the minimum time of each layer and of the whole network.

        ``name`` is one of ``roofline.DEVICES``, or ``this`` to measure this machine.
        """
        config = self._config
        device = roofline.find_device(name, config.precision, self._screen)
        self.floors = roofline.floors(self.rows, device, config.precision)
        seconds = sum(floor.seconds for floor in self.floors)
        # The backward pass costs two more forward passes: one for the gradient of the
        # weights, one for the gradient of the input. The first layers need no second.
        first = training_step.first_layers(self.rows)
        step_seconds = sum(
            floor.seconds * (2 if row.name in first else 3)
            for floor, row in zip(self.floors, self.rows, strict=True)
        )
        bounds = [floor.bound for floor in self.floors]
        self.record["roofline"] = {
            "device": device.name,
            "source": device.source,
            "peak_flops": device.peak_flops[config.precision],
            "bandwidth_bytes": device.bandwidth,
            "seconds": seconds,
            "images_per_second": config.batch_size / seconds,
            "step_images_per_second": config.batch_size / step_seconds,
            "memory_bound_layers": bounds.count("memory"),
            "compute_bound_layers": bounds.count("compute"),
        }

    def add_speed(self) -> None:
        """Measures a forward pass and a training step, in images a second."""
        from cnn_arch.analysis import measure  # half a second, which a table can save

        with self._screen.timed("compile", "forward pass and training step"):
            runs = measure.prepare(self._program())
        self.record["measured"] = {
            name: measure.measure(run, self._config.batch_size)._asdict()
            for name, run in zip(("forward", "training_step"), runs, strict=True)
        }

    def _program(self) -> Any:
        from cnn_arch.training.program import Program

        return Program(self._config, self._config.data.num_classes or 1000, self._mesh)
