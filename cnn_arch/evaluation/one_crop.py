"""One centre crop per image: the protocol of validation and of the final test."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict

from cnn_arch.data.loading import evaluation_batches
from cnn_arch.data.normalisation import normalise
from cnn_arch.data.sources import Source
from cnn_arch.data.views import eval_size
from cnn_arch.errors import RunError
from cnn_arch.parallel.mesh import abstract_batch, partition_specs, put_batch
from cnn_arch.parallel.processes import batch_share

Variables = Any  # {"params": ..., "batch_stats": ...}
Arrays = dict[str, np.ndarray]  # [N, ...]
Batch = dict[str, jax.Array]  # [B, ...]
Step = Callable[[Variables, Batch], Batch]
Advance = Callable[[], None]  # called after each batch


@dataclasses.dataclass(frozen=True)
class Results:
    """Predictions and losses of the examples of a split, in the split's order."""

    index: np.ndarray  # int64 [N], positions in the split, without skipped images
    label: np.ndarray  # int32 [N]
    prediction: np.ndarray  # int32 [N], the most probable class
    probability: np.ndarray  # float32 [N], of that class
    loss: np.ndarray  # float32 [N], cross-entropy in nats
    in_top5: np.ndarray  # bool [N], the label is among the five most probable classes
    skipped: tuple[str, ...] = ()  # names of the images that could not be read

    def summary(self) -> dict[str, float]:
        """Returns the number of examples, the mean loss, and errors in percent."""
        return {
            "num_examples": len(self.index),
            "loss": float(self.loss.mean(dtype=np.float64)),
            "top1_error": 100 * float(np.mean(self.prediction != self.label)),
            "top5_error": 100 * float(np.mean(~self.in_top5)),
        }


class Evaluator:
    """Evaluates every example of a split exactly once."""

    def __init__(self, config: ConfigDict, model: Any, mesh: Mesh):
        """Compiles nothing; the blocks of the network may be in loops."""
        size, resize = eval_size(config.data), config.data.eval_resize
        self.protocol = f"1 crop: shorter side {resize}, centre {size} px"
        if config.data.in_memory:
            self.protocol = f"whole image, {size} px, {config.data.fit}"
        # As many as a step has in memory at once, rounded up so that the devices share
        # them evenly; results do not change.
        at_once = -(-config.batch_size // config.accumulate)
        self.batch_size = at_once + -at_once % mesh.size
        self._config, self._model, self._mesh = config, model, mesh
        # Maps a batch to an array [B] for each field of ``Results`` but ``index``.
        self.step: Any = jax.jit(self._judge_batch)

    def num_batches(self, source: Source) -> int:
        """Returns the number of batches of a split."""
        return math.ceil(len(source) / self.batch_size)

    def compile(self, variable_shapes: Variables) -> None:
        """Compiles the step before the first batch."""
        data = self._config.data
        shape = self.batch_size, eval_size(data), eval_size(data), data.channels
        batch = abstract_batch(shape, self._mesh)
        self.step = self.step.lower(variable_shapes, batch).compile()

    def judge(
        self, variables: Variables, source: Source, advance: Advance = lambda: None
    ) -> Results:
        """Evaluates a network on a split.

        Raises:
          RunError: a loss is not finite, or no image could be read.
        """
        arrays, skipped = self.apply(self.step, variables, source, advance)
        if not np.isfinite(arrays["loss"]).all():
            first = arrays["index"][~np.isfinite(arrays["loss"])][0]
            raise RunError(
                f"loss is not finite for {source.name(first)}: the network has "
                "diverged; try a smaller --config.optim.learning_rate"
            )
        return Results(**arrays, skipped=skipped)

    def apply(
        self, step: Step, variables: Variables, source: Source, advance: Advance
    ) -> tuple[Arrays, tuple[str, ...]]:
        """Applies a step that returns arrays [B, ...] to every example exactly once.

        Every process loads its part of each batch and returns the whole result.

        Returns:
          The arrays of all examples, [N, ...], with ``index``, the positions in the
          split; and the names of the skipped images, which the arrays leave out.

        Raises:
          RunError: no image could be read.
        """
        read: list[Arrays] = []
        unread: list[np.ndarray] = []

        def fetch(outputs: Batch) -> None:
            if jax.process_count() > 1:  # collects the parts of all processes
                outputs = multihost_utils.process_allgather(outputs, tiled=True)
            arrays: Arrays = jax.device_get(outputs)
            mask = arrays.pop("mask")
            index = len(read) * self.batch_size + np.arange(len(mask))
            unread.append(index[~mask & (index < len(source))])  # the rest is padding
            arrays = {"index": index, **arrays}
            read.append({key: array[mask] for key, array in arrays.items()})
            advance()

        data, share = self._config.data, batch_share(self._mesh)
        batches = evaluation_batches(source, data, self.batch_size, share)
        running = None  # the device computes a batch while the last one is fetched
        for arrays in batches:
            batch = put_batch(arrays, self._mesh)
            mask = batch.pop("mask")
            outputs = step(variables, batch) | {"mask": mask}
            if running:
                fetch(running)
            running = outputs
        if running:
            fetch(running)
        skipped = tuple(map(source.name, np.concatenate(unread)))
        if len(skipped) == len(source):
            raise RunError("evaluation: no image of the split could be read")
        merged = {key: np.concatenate([part[key] for part in read]) for key in read[0]}
        num_seen = len(merged["index"]) + len(skipped)
        assert num_seen == len(source), (num_seen, len(source))
        return merged, skipped

    def _judge_batch(self, variables: Variables, batch: Batch) -> Batch:
        """Splits ``image`` uint8 [B, H, W, C] and ``label`` int32 [B] over "data"."""
        specs = partition_specs(variables, self._model, self._mesh)
        return jax.shard_map(
            self._judge_on_device,
            mesh=self._mesh,
            in_specs=(specs, P("data")),
            out_specs=P("data"),
            check_vma=False,
        )(variables, batch)

    def _judge_on_device(self, variables: Variables, batch: Batch) -> Batch:
        data, label = self._config.data, batch["label"]
        image = normalise(batch["image"], data)
        logits = self._model.apply(variables, image, train=False)
        of_label = jnp.take_along_axis(logits, label[:, None], axis=-1)
        # Classes that rank before the label; equal logits rank by class number.
        classes = jnp.arange(logits.shape[-1])
        ties = (logits == of_label) & (classes < label[:, None])
        before = (logits > of_label) | ties
        return {
            "label": label,
            "prediction": logits.argmax(axis=-1),
            "probability": jax.nn.softmax(logits).max(axis=-1),
            "loss": optax.softmax_cross_entropy_with_integer_labels(logits, label),
            "in_top5": before.sum(axis=-1) < 5,
        }
