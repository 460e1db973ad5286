"""One centre crop of each image: the protocol of validation and of the final test."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict

from cnn_arch.data.device import normalise
from cnn_arch.data.loading import evaluation_batches
from cnn_arch.data.sources import Source
from cnn_arch.errors import RunError
from cnn_arch.parallel.mesh import partition_specs, put_batch
from cnn_arch.parallel.processes import batch_share
from cnn_arch.training.losses import cross_entropy

# eval_step(params, batch_stats, batch) -> per-example arrays
EvalStep = Callable[[Any, Any, dict[str, jax.Array]], dict[str, jax.Array]]


@dataclasses.dataclass(frozen=True)
class Results:
    """What a network says of each example of a split, in the split's order.

    Attributes:
      index: int64 [N], places in the split; skipped images are missing.
      label: int32 [N].
      prediction: int32 [N], the most probable class.
      probability: float32 [N], of that class.
      loss: float32 [N], cross-entropy in nats.
      in_top5: bool [N], the label is among the five most probable classes.
    """

    index: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    probability: np.ndarray
    loss: np.ndarray
    in_top5: np.ndarray

    def summary(self) -> dict[str, float]:
        """Returns the number of examples, the mean loss, and errors in percent."""
        return {
            "num_examples": len(self.index),
            "loss": float(self.loss.mean(dtype=np.float64)),
            "top1_error": 100 * float(np.mean(self.prediction != self.label)),
            "top5_error": 100 * float(np.mean(~self.in_top5)),
        }


def protocol(data: ConfigDict) -> str:
    """Describes what is shown to the network, from ``config.data``."""
    if data.in_memory:
        return f"whole image, {data.image_size} px, {data.fit}"
    return f"1 crop: shorter side {data.eval_resize}, centre {data.image_size} px"


def make_eval_step(config: ConfigDict, model: Any, mesh: Mesh) -> EvalStep:
    """Returns the jitted step that judges a batch.

    A batch holds ``image`` uint8 [B, H, W, C] and ``label`` int32 [B], split over the
    mesh axis "data"; the result holds an array [B] for each field of ``Results`` but
    ``index``.
    """

    def device_step(params: Any, batch_stats: Any, batch: dict[str, jax.Array]):
        logits = model.apply(
            {"params": params, "batch_stats": batch_stats},
            normalise(batch["image"], config.data.mean, config.data.std),
            train=False,
        )
        label = batch["label"]
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
            "loss": cross_entropy(logits, label),
            "in_top5": before.sum(axis=-1) < 5,
        }

    def step(params: Any, batch_stats: Any, batch: dict[str, jax.Array]):
        specs = partition_specs((params, batch_stats), model, mesh)
        return jax.shard_map(
            device_step,
            mesh=mesh,
            in_specs=(*specs, P("data")),
            out_specs=P("data"),
            check_vma=False,
        )(params, batch_stats, batch)

    return jax.jit(step)


def evaluate(
    eval_step: EvalStep,
    params: Any,
    batch_stats: Any,
    source: Source,
    config: ConfigDict,
    mesh: Mesh,
    *,
    advance: Callable[[], None] = lambda: None,
    skipped: set[str] | None = None,
) -> Results:
    """Judges every example of a split exactly once.

    Args:
      eval_step: from ``make_eval_step``.
      params: the network's parameters.
      batch_stats: its running statistics.
      source: the split.
      config: ``batch_size`` and ``data`` are read.
      mesh: divides the batch size.
      advance: called after each batch.
      skipped: where the names of unreadable images are added.

    Returns:
      What the network says of each example.

    Raises:
      RunError: a loss is not finite, or no image could be read.
    """
    arrays = judge_split(
        eval_step,
        params,
        batch_stats,
        source,
        config,
        mesh,
        advance=advance,
        skipped=set() if skipped is None else skipped,
    )
    if not np.isfinite(arrays["loss"]).all():
        first = arrays["index"][~np.isfinite(arrays["loss"])][0]
        raise RunError(
            f"loss is not finite for {source.name(first)}: the network has diverged; "
            "try a smaller --config.optim.learning_rate"
        )
    return Results(**arrays)


def judge_split(
    step: EvalStep,
    params: Any,
    batch_stats: Any,
    source: Source,
    config: ConfigDict,
    mesh: Mesh,
    *,
    advance: Callable[[], None],
    skipped: set[str],
) -> dict[str, np.ndarray]:
    """Applies a step that returns arrays [B, ...] to every example exactly once.

    Returns:
      Those arrays for all examples, [N, ...], and ``index``, their places in the
      split; skipped images are missing. Every process loads its part of each batch
      and returns all examples.

    Raises:
      RunError: no image could be read.
    """
    size, num_unread = config.batch_size, 0
    judged: list[dict[str, np.ndarray]] = []

    def fetch(number: int, outputs: dict[str, jax.Array]) -> None:
        nonlocal num_unread
        if jax.process_count() > 1:
            arrays = multihost_utils.process_allgather(outputs, tiled=True)
        else:
            arrays = jax.device_get(outputs)
        mask = arrays.pop("mask")
        judged.append({"index": number * size + np.flatnonzero(mask)})
        judged[-1] |= {key: array[mask] for key, array in arrays.items()}
        unread = number * size + np.flatnonzero(~mask)
        unread = unread[unread < len(source)]
        skipped.update(map(source.name, unread))
        num_unread += len(unread)
        advance()

    running = None  # the device works on a batch while the one before is fetched
    batches = evaluation_batches(source, config.data, size, *batch_share(mesh))
    for number, arrays in enumerate(batches):
        batch = put_batch(arrays, mesh)
        mask = batch.pop("mask")
        outputs = step(params, batch_stats, batch) | {"mask": mask}
        if running:
            fetch(*running)
        running = number, outputs
    if running:
        fetch(*running)
    if not any(len(batch["index"]) for batch in judged):
        raise RunError("evaluation: no image of the split could be read")
    merged = {key: np.concatenate([j[key] for j in judged]) for key in judged[0]}
    num_seen = len(merged["index"]) + num_unread
    assert num_seen == len(source), (num_seen, len(source))
    return merged
