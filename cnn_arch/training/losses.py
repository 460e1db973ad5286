"""What training minimises."""

import jax
import optax


def cross_entropy(
    logits: jax.Array, label: jax.Array, label_smoothing: float = 0.0
) -> jax.Array:
    """Returns the loss of each example, in nats.

    Args:
      logits: float32 [B, K].
      label: int32 [B], from 0 to K - 1.
      label_smoothing: the share of the target that is spread evenly over all K classes
        (Szegedy et al. 2016, "Rethinking the Inception Architecture", Section 7).

    Returns:
      float32 [B].
    """
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    if label_smoothing:
        uniform = -jax.nn.log_softmax(logits).mean(axis=-1)
        loss = (1 - label_smoothing) * loss + label_smoothing * uniform
    return loss
