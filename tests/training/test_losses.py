"""Losses, compared with NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

from cnn_arch.training import losses

LOGITS = np.array([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0], [-1.0, 2.0, 0.0]])
LABEL, PARTNER, SHARE = np.array([1, 0, 2]), np.array([1, 1, 0]), 0.7


def target(smoothing, mixed):
    made = losses.Target(jnp.array(LABEL), smoothing)
    return made.mixed_with(jnp.array(PARTNER), jnp.array(SHARE)) if mixed else made


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(smoothing, mixed):
    wanted = np.eye(3)[LABEL]
    if mixed:
        wanted = SHARE * wanted + (1 - SHARE) * np.eye(3)[PARTNER]
    wanted = (1 - smoothing) * wanted + smoothing / 3
    log_p = np.log(np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True))
    loss = losses.cross_entropy(jnp.array(LOGITS), target(smoothing, mixed))
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
    loss = losses.binary_cross_entropy(jnp.array(LOGITS), target(smoothing, mixed))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
