"""Losses, compared with NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_arch.errors import UsageError
from cnn_arch.training import losses

LOGITS = np.array([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0], [-1.0, 2.0, 0.0]])
WEIGHTS = np.array([0.5, 1.0, 2.0])
LABEL, PARTNER, SHARE = np.array([1, 0, 2]), np.array([1, 1, 0]), 0.7


def target(smoothing, mixed):
    made = losses.Target(jnp.array(LABEL), smoothing)
    return made.mixed_with(jnp.array(PARTNER), jnp.array(SHARE)) if mixed else made


def of_each(loss, smoothing, mixed):
    """Returns the loss of each example, by one program."""
    program = jax.jit(lambda: loss(jnp.array(LOGITS), target(smoothing, mixed)))
    return np.asarray(program())


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(smoothing, mixed):
    wanted = np.eye(3)[LABEL]
    if mixed:
        wanted = SHARE * wanted + (1 - SHARE) * np.eye(3)[PARTNER]
    wanted = (1 - smoothing) * wanted + smoothing / 3
    log_p = np.log(np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True))
    loss = of_each(losses.cross_entropy, smoothing, mixed)
    np.testing.assert_allclose(loss, -(wanted * log_p).sum(1), rtol=1e-5)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_cross_entropy(smoothing, mixed):
    wanted = np.eye(3)[LABEL]
    if mixed:
        wanted = np.maximum(wanted, np.eye(3)[PARTNER])
    wanted = (1 - smoothing) * wanted + smoothing / 3
    p = 1 / (1 + np.exp(-LOGITS))
    expected = -(wanted * np.log(p) + (1 - wanted) * np.log(1 - p)).sum(1)
    loss = of_each(losses.binary_cross_entropy, smoothing, mixed)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def reduced(name, smoothing, mixed):
    """Returns the weighted mean of the batch, divided over three devices."""

    def on_device(logits, label, partner):
        one = losses.Target(label, smoothing)
        if mixed:
            one = one.mixed_with(partner, jnp.array(SHARE))
        return losses.weighted_mean(name, logits, one, jnp.array(WEIGHTS))

    split = jnp.array(LOGITS)[:, None], LABEL[:, None], PARTNER[:, None]
    return jax.jit(jax.vmap(on_device, axis_name="data"))(*split).mean()


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights(smoothing, mixed):
    """torch.nn.CrossEntropyLoss(weight): sum_k w_k t_k -log p_k, over sum w_label."""
    hard = np.eye(3)[LABEL]
    if mixed:
        hard = SHARE * hard + (1 - SHARE) * np.eye(3)[PARTNER]
    wanted = (1 - smoothing) * hard + smoothing / 3
    log_p = np.log(np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True))
    of_examples = hard @ WEIGHTS
    expected = -(WEIGHTS * wanted * log_p).sum() / of_examples.sum()
    found = reduced("cross_entropy", smoothing, mixed)
    assert found == pytest.approx(expected, rel=1e-5)
    each = of_each(losses.binary_cross_entropy, smoothing, mixed)
    expected = (of_examples * each).sum() / of_examples.sum()
    found = reduced("binary_cross_entropy", smoothing, mixed)
    assert found == pytest.approx(expected, rel=1e-5)


def test_class_weights_by_hand():
    """Two guesses between two classes: each costs log 2, whatever it weighs."""
    logits, made = jnp.zeros((2, 2)), losses.Target(jnp.array([0, 1]))
    weights = losses.read_weights("3,1", 2)
    loss = losses.cross_entropy(logits, made, weights)
    np.testing.assert_allclose(loss, [3 * np.log(2), np.log(2)], rtol=1e-6)
    assert losses.read_weights("none", 2) is None
    with pytest.raises(UsageError, match="has 2 numbers, but there are 10 classes"):
        losses.read_weights("3,1", 10)
