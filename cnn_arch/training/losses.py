"""Losses of logits against labels, smoothed, mixed or weighted."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import lax

from cnn_arch.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Target:
    """What the logits of a batch should be."""

    label: jax.Array  # int32 [B], from 0 to K - 1
    # The share of the target that is spread evenly over all K classes (Szegedy et al.
    # 2016, "Rethinking the Inception Architecture", Section 7).
    smoothing: float = 0.0
    partner: jax.Array | None = None  # int32 [B], labels of the images mixed in
    share: jax.Array | float = 1.0  # of ``label``; the rest belongs to ``partner``
    whole: "Target | None" = None  # of this device's batch, if this is of a part

    def mixed_with(self, partner: jax.Array, share: jax.Array) -> "Target":
        """Returns the target of images that were mixed with others."""
        return dataclasses.replace(self, partner=partner, share=share)

    def weight(self, class_weights: jax.Array) -> jax.Array:
        """Returns each example's weight [B], that of its class or its two classes."""
        weight = class_weights[self.label]
        if self.partner is not None:
            other = class_weights[self.partner]
            weight = self.share * weight + (1 - self.share) * other
        return weight

    def of_rows(self, take: Callable[[jax.Array], jax.Array]) -> "Target":
        """Returns the target of some examples, which ``take`` chooses from arrays."""
        partner = None if self.partner is None else take(self.partner)
        label = take(self.label)
        return dataclasses.replace(self, label=label, partner=partner, whole=self)


def cross_entropy(
    logits: jax.Array, target: Target, class_weights: jax.Array | None = None
) -> jax.Array:
    """Returns the loss of each example in nats, float32 [B], of logits [B, K].

    Weights [K] multiply the terms of the sum over the classes, as in
    torch.nn.CrossEntropyLoss.
    """

    def loss_of(label: jax.Array) -> jax.Array:
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, label)
        return loss if class_weights is None else class_weights[label] * loss

    loss = loss_of(target.label)
    if target.partner is not None:
        loss = target.share * loss + (1 - target.share) * loss_of(target.partner)
    if target.smoothing:
        terms = jax.nn.log_softmax(logits)
        terms = terms if class_weights is None else class_weights * terms
        uniform = -terms.mean(axis=-1)
        loss = (1 - target.smoothing) * loss + target.smoothing * uniform
    return loss


def binary_cross_entropy(
    logits: jax.Array, target: Target, class_weights: jax.Array | None = None
) -> jax.Array:
    """Returns the sum of each example's losses of K yes-or-no questions, in nats [B].

    Wightman et al. 2021, "ResNet strikes back", Section 3.1: where images are mixed,
    the answer is yes for both classes. Weights [K] multiply whole examples: see
    ``Target.weight``.
    """
    num_classes = logits.shape[-1]
    wanted = jax.nn.one_hot(target.label, num_classes)
    if target.partner is not None:
        wanted = jnp.maximum(wanted, jax.nn.one_hot(target.partner, num_classes))
    wanted = optax.smooth_labels(wanted, target.smoothing)
    loss = optax.sigmoid_binary_cross_entropy(logits, wanted).sum(axis=-1)
    return loss if class_weights is None else target.weight(class_weights) * loss


LOSSES: dict[str, Callable[..., jax.Array]] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
}


def weighted_mean(
    name: str, logits: jax.Array, target: Target, class_weights: jax.Array
) -> jax.Array:
    """Returns the sum of a loss divided by the sum of the examples' weights.

    The reduction of torch.nn.CrossEntropyLoss(weight=...). The weights are summed over
    all parts and the mesh axis "data": the mean of all results is that of the batch.
    """
    loss = LOSSES[name](logits, target, class_weights)
    whole = target.whole or target
    num_parts = len(whole.label) // len(target.label)
    weight = lax.pmean(whole.weight(class_weights).sum(), "data") / num_parts
    return loss.sum() / weight


def read_weights(text: str, num_classes: int) -> jax.Array | None:
    """Reads config.class_weights when they are counted; "none" is None.

    Raises:
      UsageError: there is not one for each class.
    """
    if text == "none":
        return None
    weights = [float(each) for each in text.split(",")]
    if len(weights) != num_classes:
        raise UsageError(
            f"--config.class_weights={text}: has {len(weights)} numbers, but there are "
            f"{num_classes} classes; give one for each, or inverse"
        )
    return jnp.array(weights)
