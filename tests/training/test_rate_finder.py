"""The learning-rate range test: its rates, its end and its suggestion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_arch import settings
from cnn_arch.report import rate_curve
from cnn_arch.training import rate_finder, schedules
from cnn_arch.training.rate_finder import Curve

RATES = np.logspace(-7, 1, rate_finder.NUM_STEPS)


def a_valley(bottom):
    """Returns losses that fall from 2.3, are least at a rate, and rise beyond it."""
    place = np.log10(RATES / bottom)
    return np.where(place < 0, 2.3 / (1 + np.exp(4 * place + 4)) + 0.3, 0.35 + place**2)


@pytest.mark.parametrize("recipe", ["lenet5", "inception_v3", "resnet110:cifar10"])
def test_the_rate_rises_by_the_same_factor_in_each_step(recipe):
    """Whatever the recipe does at its start: warm-up, or a wait for the error."""
    config, _ = settings.parse([f"--config={recipe}"])
    schedule = schedules.make_schedule(rate_finder.rising(config), 1000)
    rates = jax.jit(jax.vmap(schedule))(jnp.arange(len(RATES)))
    np.testing.assert_allclose(rates, RATES, rtol=1e-3)


@pytest.mark.parametrize("bottom", [1e-3, 0.1])
def test_the_suggestion_is_a_tenth_of_the_rate_of_the_least_loss(bottom):
    noise = np.random.default_rng(0).normal(0, 0.01, len(RATES))
    found = Curve(RATES, a_valley(bottom) + noise).suggestion
    assert found is not None
    assert 0.5 < found / (bottom / 10) < 2


def test_nothing_is_suggested_where_nothing_is_learnt():
    noise = np.random.default_rng(0).normal(0, 0.01, len(RATES))
    assert Curve(RATES, 2.3 + noise).suggestion is None


def test_the_test_ends_at_four_times_the_least_loss():
    losses = [2.0] * 20 + [1.0] * 20 + [9.0] * 20
    ends = [n for n in range(1, len(losses)) if rate_finder.has_diverged(losses[:n])]
    # Of seven losses, three of 9 and four of 1 are the first mean above 4.
    assert ends[0] == 43
    assert not rate_finder.has_diverged([9.0, 8.0, 2.0])
    assert not rate_finder.has_diverged([2.0] * 20 + [0.01] * 20 + [0.5] * 20)


@pytest.mark.parametrize("suggestion", [0.01, None])
def test_the_picture_is_written(tmp_path, suggestion):
    curve = Curve(RATES, a_valley(0.1))
    path = tmp_path / "curve.png"
    rate_curve.draw(path, curve.rates, curve.losses, curve.smoothed, suggestion)
    assert path.read_bytes().startswith(b"\x89PNG")
