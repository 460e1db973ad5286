"""One centre crop of each image: the protocol of validation and of the final test."""

import dataclasses
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

from cnn_arch.data.device import normalise
from cnn_arch.data.loading import evaluation_batches
from cnn_arch.data.sources import Source
from cnn_arch.errors import RunError
from cnn_arch.parallel.mesh import abstract_batch, partition_specs, put_batch
from cnn_arch.parallel.processes import batch_share

Variables = Any  # {"params": ..., "batch_stats": ...}
Arrays = dict[str, np.ndarray]
Step = Callable[[Variables, dict[str, jax.Array]], dict[str, jax.Array]]


@dataclasses.dataclass(frozen=True)
class Results:
    """What a network says of each example of a split, in the split's order."""

    index: np.ndarray  # int64 [N], places in the split; skipped images are missing
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
    """Judges every example of a split exactly once.

    Attributes:
      batch_size: that of the config, or the next above it that the devices can share:
        results do not depend on it.
      protocol: what the network sees of an image, in words.
      step: judges a batch: an array [B] for each field of ``Results`` but ``index``.
    """

    def __init__(self, config: ConfigDict, model: Any, mesh: Mesh):
        """Compiles nothing.

        Args:
          config: ``batch_size`` and ``data`` are read.
          model: the network, whole or with its blocks in loops.
          mesh: the devices.
        """
        self.batch_size = config.batch_size + -config.batch_size % mesh.size
        self.protocol = describe_protocol(config.data)
        self._config, self._model, self._mesh = config, model, mesh
        self.step: Step = jax.jit(self._judge_batch)

    def compile(self, variable_shapes: Variables) -> None:
        """Compiles the step that judges a batch, ahead of the first."""
        batch = abstract_batch(self._config, self._mesh)
        step: Any = self.step
        self.step = step.lower(variable_shapes, batch).compile()

    def judge(
        self,
        variables: Variables,
        source: Source,
        advance: Callable[[], None] = lambda: None,
    ) -> Results:
        """Judges a network on a split.

        Args:
          variables: ``{"params": ..., "batch_stats": ...}``.
          source: the split.
          advance: called after each batch.

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
        self,
        step: Step,
        variables: Variables,
        source: Source,
        advance: Callable[[], None] = lambda: None,
    ) -> tuple[Arrays, tuple[str, ...]]:
        """Applies a step that returns arrays [B, ...] to every example exactly once.

        Every process loads its part of each batch and returns all examples.

        Returns:
          Those arrays for all examples, [N, ...], and ``index``, their places in the
          split, without skipped images; and the names of the skipped.

        Raises:
          RunError: no image could be read.
        """
        judged: list[Arrays] = []
        unread: list[np.ndarray] = []

        def fetch(number: int, outputs: dict[str, jax.Array]) -> None:
            arrays = _fetch_whole(outputs)
            mask = arrays.pop("mask")
            places = number * self.batch_size + np.arange(len(mask))
            unread.append(places[~mask & (places < len(source))])
            judged.append({"index": places[mask]})
            judged[-1] |= {key: array[mask] for key, array in arrays.items()}
            advance()

        data, share = self._config.data, batch_share(self._mesh)
        batches = evaluation_batches(source, data, self.batch_size, share)
        running = None  # the device works on a batch while the one before is fetched
        for number, arrays in enumerate(batches):
            batch = put_batch(arrays, self._mesh)
            mask = batch.pop("mask")
            outputs = step(variables, batch) | {"mask": mask}
            if running:
                fetch(*running)
            running = number, outputs
        if running:
            fetch(*running)
        skipped = tuple(map(source.name, np.concatenate(unread)))
        if len(skipped) == len(source):
            raise RunError("evaluation: no image of the split could be read")
        merged = {key: np.concatenate([j[key] for j in judged]) for key in judged[0]}
        num_seen = len(merged["index"]) + len(skipped)
        assert num_seen == len(source), (num_seen, len(source))
        return merged, skipped

    def _judge_batch(
        self, variables: Variables, batch: dict[str, jax.Array]
    ) -> dict[str, jax.Array]:
        """Returns an array [B] for each field of ``Results`` but ``index``.

        A batch holds ``image`` uint8 [B, H, W, C] and ``label`` int32 [B], split over
        the mesh axis "data".
        """
        specs = partition_specs(variables, self._model, self._mesh)
        return jax.shard_map(
            self._judge_on_device,
            mesh=self._mesh,
            in_specs=(specs, P("data")),
            out_specs=P("data"),
            check_vma=False,
        )(variables, batch)

    def _judge_on_device(
        self, variables: Variables, batch: dict[str, jax.Array]
    ) -> dict[str, jax.Array]:
        data, label = self._config.data, batch["label"]
        image = normalise(batch["image"], data.mean, data.std)
        logits = self._model.apply(variables, image, train=False)
        of_label = jnp.take_along_axis(logits, label[:, None], axis=-1)
        # Classes before the label's in the ranking; equal logits rank by class.
        classes = jnp.arange(logits.shape[-1])
        before = (logits > of_label) | (
            (logits == of_label) & (classes < label[:, None])
        )
        return {
            "label": label,
            "prediction": logits.argmax(axis=-1),
            "probability": jax.nn.softmax(logits).max(axis=-1),
            "loss": optax.softmax_cross_entropy_with_integer_labels(logits, label),
            "in_top5": before.sum(axis=-1) < 5,
        }


def describe_protocol(data: ConfigDict) -> str:
    """Describes what is shown to the network, from ``config.data``."""
    if data.in_memory:
        return f"whole image, {data.image_size} px, {data.fit}"
    return f"1 crop: shorter side {data.eval_resize}, centre {data.image_size} px"


def _fetch_whole(outputs: dict[str, jax.Array]) -> Arrays:
    """Returns the arrays of a whole batch, on every process."""
    if jax.process_count() > 1:
        return multihost_utils.process_allgather(outputs, tiled=True)
    return jax.device_get(outputs)
