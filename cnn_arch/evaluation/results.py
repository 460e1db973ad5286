"""What an evaluation finds: arrays with a row for each example of a split."""

import dataclasses
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import multihost_utils

from cnn_arch.data.sources import Source
from cnn_arch.errors import DivergedError, RunError
from cnn_arch.parallel import processes

Arrays = dict[str, np.ndarray]  # [N, ...]
Batch = dict[str, jax.Array]  # [B, ...]
Advance = Callable[[], None]  # called after each batch
# Scores [B, K] and labels [B] -> arrays [B, ...].
Finish = Callable[[jax.Array, jax.Array], Batch]


@dataclasses.dataclass(frozen=True)
class Results:
    """Predictions and losses of the examples of a split, in the split's order."""

    index: np.ndarray  # int64 [N], positions in the split, without skipped images
    label: np.ndarray  # int32 [N]
    prediction: np.ndarray  # int32 [N], the most probable class
    probability: np.ndarray  # float32 [N], of that class
    loss: np.ndarray  # float32 [N], cross-entropy in nats
    rank: np.ndarray  # int32 [N], of the label; 0: the most probable class
    skipped: tuple[str, ...] = ()  # names of the images that could not be read

    def summary(self) -> dict[str, float]:
        """Returns the number of examples, the mean loss, and errors in percent."""
        return {
            "num_examples": len(self.index),
            "loss": float(self.loss.mean(dtype=np.float64)),
            "top1_error": 100 * float(np.mean(self.prediction != self.label)),
            "top5_error": self.top_error(5),
        }

    def top_error(self, number: int) -> float:
        """Returns in percent how often the label is not among so many classes."""
        return 100 * float(np.mean(self.rank >= number))


def judge_scores(scores: jax.Array, label: jax.Array) -> Batch:
    """Returns an array [B] for each field of ``Results`` but ``index``.

    The scores [B, K] are logits, or logarithms of probabilities.
    """
    of_label = jnp.take_along_axis(scores, label[:, None], axis=-1)
    # Classes that rank before the label; equal scores rank by class number.
    classes = jnp.arange(scores.shape[-1])
    ties = (scores == of_label) & (classes < label[:, None])
    before = (scores > of_label) | ties
    return {
        "label": label,
        "prediction": scores.argmax(axis=-1),
        "probability": jax.nn.softmax(scores).max(axis=-1),
        "loss": optax.softmax_cross_entropy_with_integer_labels(scores, label),
        "rank": before.sum(axis=-1, dtype=jnp.int32),
    }


def log_probabilities(scores: jax.Array, label: jax.Array) -> Batch:
    """Returns "label" [B], and "log_probability" [B, K] of all classes.

    The scores [B, K] are as in ``judge_scores``.
    """
    return {"label": label, "log_probability": jax.nn.log_softmax(scores)}


def collect(
    outputs: Iterator[Batch], source: Source, advance: Advance
) -> tuple[Arrays, tuple[str, ...]]:
    """Collects the outputs of all batches, in which each example is exactly once.

    Every process gives its part of each batch and gets the whole result.

    Args:
      outputs: of batches, [B, ...]: "index", the positions in the split; "mask", false
        for an image that could not be read, and for rows beyond the split; and others.
      source: the split.
      advance: called after each batch.

    Returns:
      The arrays of all examples, [N, ...], in the order of the split; and the names of
      the skipped images, which the arrays leave out.

    Raises:
      RunError: no image could be read.
    """
    read: list[Arrays] = []
    unread: list[np.ndarray] = []

    def fetch(batch: Batch) -> None:
        if processes.count() > 1:  # collects the parts of all processes
            batch = multihost_utils.process_allgather(batch, tiled=True)
        arrays: Arrays = jax.device_get(batch)
        mask = arrays.pop("mask")
        arrays["index"] = index = arrays["index"].astype(np.int64)
        unread.append(index[~mask & (index < len(source))])  # the rest is padding
        read.append({key: array[mask] for key, array in arrays.items()})
        advance()

    running = None  # the device computes a batch while the last one is fetched
    for batch in outputs:
        if running:
            fetch(running)
        running = batch
    if running:
        fetch(running)
    skipped = tuple(map(source.name, np.sort(np.concatenate(unread)).tolist()))
    if len(skipped) == len(source):
        raise RunError("evaluation: no image of the split could be read")
    merged = {key: np.concatenate([part[key] for part in read]) for key in read[0]}
    order = np.argsort(merged["index"], kind="stable")
    num_seen = len(np.unique(merged["index"])) + len(skipped)
    assert num_seen == len(order) + len(skipped) == len(source), num_seen
    return {key: array[order] for key, array in merged.items()}, skipped


def finite_results(arrays: Arrays, skipped: tuple[str, ...], source: Source) -> Results:
    """Returns the results of a network on a split.

    Raises:
      DivergedError: a loss is not finite.
    """
    check_finite(arrays["loss"], arrays["index"], source)
    return Results(**arrays, skipped=skipped)


def check_finite(loss: np.ndarray, index: np.ndarray, source: Source) -> None:
    """Checks the losses [N] of the images at positions [N] of a split.

    Raises:
      DivergedError: a loss is not finite.
    """
    if not np.isfinite(loss).all():
        first = index[~np.isfinite(loss)][0]
        raise DivergedError(
            f"loss is not finite for {source.name(first)}: the network has "
            "diverged; try a smaller --config.optim.learning_rate"
        )
