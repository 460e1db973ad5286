"""BatchNorm's statistics over many training images, instead of running averages.

He et al. 2015 tested their networks so: "the provided mean and variance are strictly
computed using average (not moving average) on a sufficiently large training batch after
the training procedure" (deep-residual-networks, README). Wu and Johnson 2021,
"Rethinking 'Batch' in BatchNorm", Section 3, compare both.

The images are those of training, augmented and mixed as its first steps have them, and
each batch is normalised by its own statistics, as in the paper's code (fvcore's
``update_bn_stats``). The mean is the mean of the batches' means; the variance is the
mean of their variances plus the variance of their means, that of all images together.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict

from cnn_arch import settings
from cnn_arch.data.loading import TrainBatches
from cnn_arch.datasets.dataset import Dataset
from cnn_arch.errors import UsageError
from cnn_arch.ops.loops import unrolled
from cnn_arch.ops.split import ALL as AXES
from cnn_arch.parallel import processes
from cnn_arch.parallel.mesh import partition_specs, put_batch
from cnn_arch.run_directory import Run
from cnn_arch.screen import Screen
from cnn_arch.training import frozen
from cnn_arch.training.program import Program
from cnn_arch.training.step import DROPOUT, network_input, step_key
from cnn_arch.weights.files import read_npz, write_npz

Variables = dict[str, Any]  # {"params": ..., "batch_stats": ...}
Statistics = dict[str, Any]  # of each layer, "mean" and "var"


def num_images(config: ConfigDict) -> int:
    """Returns the number of images: batch_norm_images, in whole batches."""
    return math.ceil(config.batch_norm_images / _at_once(config)) * _at_once(config)


def _at_once(config: ConfigDict) -> int:
    return config.batch_size // config.accumulate


def path_of(workdir: Path, step: int, *, averaged: bool = False) -> Path:
    """Returns the file with the statistics of a checkpoint of a run."""
    suffix = "_average" if averaged else ""
    return workdir / "eval" / f"batch_norm_{step}{suffix}.npz"


def measure(
    program: Program, dataset: Dataset, variables: Variables, path: Path, screen: Screen
) -> tuple[Variables, dict[str, int]]:
    """Returns a network's variables with exact statistics, if its run wants them.

    Process 0 writes them to the path, for ``read``. Blocks are not in loops. Layers
    that are frozen keep theirs, and so does a BatchNorm layer that is not the
    project's: a warning names it.

    Returns:
      The variables, and the number of images for results.json.
    """
    config, running = program.config, flatten_dict(variables["batch_stats"])
    if not config.batch_norm_images or not running:
        return variables, {}
    measurement = _Measurement.of_program(program)
    step = jax.jit(measurement.moments)
    batches = TrainBatches.of_run(measurement.config, dataset, program.mesh, keep=False)
    placed, found = program.place(variables), []
    count = num_images(config)
    number = count // batches.batch_size
    with screen.progress("BatchNorm", number) as progress:
        for index, batch in enumerate(batches.iterate(0, number)):
            batch = put_batch(batch, program.mesh)
            moments = jax.device_get(step(placed, batch, index))
            found.append(jax.tree.map(np.float64, unrolled(moments)))
            progress.advance("")
    exact = combine(found)
    kept = {path[:-1] for path in running.keys() - exact.keys()}
    for layer in sorted(kept - measurement.frozen_layers):
        screen.warn(
            f"{'/'.join(layer)}: keeps its running averages; only BatchNorm of "
            "cnn_arch/models/layers.py can be measured"
        )
    statistics = unflatten_dict(running | exact)
    if not processes.index():
        path.parent.mkdir(exist_ok=True)
        write_npz(path, {"params": {}, "batch_stats": statistics})
    screen.say("", f"BatchNorm's statistics are of {count:,} training images")
    return variables | {"batch_stats": statistics}, {"batch_norm_images": count}


def combine(batches: list[Statistics]) -> dict[tuple[str, ...], np.ndarray]:
    """Returns the statistics of all images, float32, from those of equal batches."""
    every: Any = [flatten_dict(batch) for batch in batches]
    exact = {}
    for path in every[0]:
        if path[-1] == "mean":
            var = (*path[:-1], "var")
            means = np.stack([batch[path] for batch in every])
            within = np.mean([batch[var] for batch in every], axis=0)
            exact[path] = means.mean(axis=0).astype(np.float32)
            exact[var] = (within + means.var(axis=0)).astype(np.float32)
    return exact


def read(
    run: Run, config: ConfigDict, variables: Variables, path: Path
) -> tuple[Variables, dict[str, int]]:
    """Returns the variables with the statistics of a file of ``measure``.

    Says which statistics they have, if the run should have exact ones.

    Returns:
      The variables, and the number of images for results.json: 0 is running averages.

    Raises:
      UsageError: the file of the statistics is damaged.
    """
    if not config.batch_norm_images or not variables["batch_stats"]:
        return variables, {}
    if not path.is_file():
        run.screen.warn(
            "BatchNorm has running averages: exact statistics are measured at the end "
            "of train.py, for the best checkpoint"
        )
        return variables, {"batch_norm_images": 0}
    try:
        stored = read_npz(str(path))["batch_stats"]
        shapes = [jax.tree.map(np.shape, each) for each in (stored, variables)]
        if shapes[0] != shapes[1]["batch_stats"]:
            raise UsageError("is of another network")
    except UsageError as error:
        raise UsageError(
            f"{path}: {error}; delete it and repeat the command of train.py"
        ) from None
    count = num_images(config)
    run.screen.say("", f"BatchNorm's statistics are of {count:,} training images")
    place = jax.tree.map(_like, variables["batch_stats"], stored)
    return variables | {"batch_stats": place}, {"batch_norm_images": count}


def _like(old: Any, new: np.ndarray) -> Any:
    """Returns new numbers on the devices of the old ones."""
    return jax.device_put(new, old.sharding) if isinstance(old, jax.Array) else new


@dataclasses.dataclass(frozen=True)
class _Measurement:
    """Measures the statistics of a batch."""

    config: ConfigDict  # its batch is as large as what a training step has at once
    model: Any
    mesh: Mesh
    frozen_layers: frozenset[frozen.Layer]

    @classmethod
    def of_program(cls, program: Program) -> "_Measurement":
        at_once = _at_once(program.config)
        config = settings.derive(
            program.config, {"batch_size": at_once, "accumulate": 1}
        )
        layers = frozen.find_layers(config.freeze, program.state_shapes.params)
        return cls(config, program.model, program.mesh, layers)

    def moments(
        self, variables: Variables, batch: dict[str, jax.Array], number: jax.Array
    ) -> Statistics:
        """Returns "mean" and "var" of all layers, over the batch of a step."""
        specs = partition_specs(variables, self.model, self.mesh)
        return jax.shard_map(
            self._on_device,
            mesh=self.mesh,
            in_specs=(specs, P("data"), P()),
            out_specs=P(),
            check_vma=False,
        )(variables, batch, number)

    def _on_device(
        self, variables: Variables, batch: dict[str, jax.Array], number: jax.Array
    ) -> Statistics:
        image, _ = network_input(self.config, number, batch)
        _, updates = self.model.apply(
            variables | frozen.marks(self.frozen_layers),
            image,
            train=True,
            mutable=["batch_stats", "aux_logits", "moments"],
            rngs={"dropout": step_key(self.config.seed, number, DROPOUT)},
        )
        found: Any = flatten_dict(updates.get("moments", {}))
        for path in [path for path in found if path[-1] == "mean"]:
            var = (*path[:-1], "var")
            # With per_device statistics, each device has another mean.
            mean = lax.pmean(found[path], AXES)
            between = lax.pmean(jnp.square(found[path] - mean), AXES)
            found |= {path: mean, var: lax.pmean(found[var], AXES) + between}
        return unflatten_dict(found)
