"""Losses of logits against labels, smoothed or mixed."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax


@dataclasses.dataclass(frozen=True)
class Target:
    """What the logits of a batch should be."""

    label: jax.Array  # int32 [B], from 0 to K - 1
    # The share of the target that is spread evenly over all K classes (Szegedy et al.
    # 2016, "Rethinking the Inception Architecture", Section 7).
    smoothing: float = 0.0
    partner: jax.Array | None = None  # int32 [B], labels of the images mixed in
    share: jax.Array | float = 1.0  # of ``label``; the rest belongs to ``partner``

    def mixed_with(self, partner: jax.Array, share: jax.Array) -> "Target":
        """Returns the target of images that were mixed with others."""
        return dataclasses.replace(self, partner=partner, share=share)


def cross_entropy(logits: jax.Array, target: Target) -> jax.Array:
    """Returns the loss of each example in nats, float32 [B], of logits [B, K]."""
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, target.label)
    if target.partner is not None:
        other = optax.softmax_cross_entropy_with_integer_labels(logits, target.partner)
        loss = target.share * loss + (1 - target.share) * other
    if target.smoothing:
        uniform = -jax.nn.log_softmax(logits).mean(axis=-1)
        loss = (1 - target.smoothing) * loss + target.smoothing * uniform
    return loss


def binary_cross_entropy(logits: jax.Array, target: Target) -> jax.Array:
    """Returns the sum of each example's losses of K yes-or-no questions, in nats [B].

    Wightman et al. 2021, "ResNet strikes back", Section 3.1: where images are mixed,
    the answer is yes for both classes.
    """
    num_classes = logits.shape[-1]
    wanted = jax.nn.one_hot(target.label, num_classes)
    if target.partner is not None:
        wanted = jnp.maximum(wanted, jax.nn.one_hot(target.partner, num_classes))
    wanted = optax.smooth_labels(wanted, target.smoothing)
    return optax.sigmoid_binary_cross_entropy(logits, wanted).sum(axis=-1)


LOSSES: dict[str, Callable[[jax.Array, Target], jax.Array]] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
}
