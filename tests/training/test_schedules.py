"""Learning rates that depend on errors, compared with scripted sequences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_arch import settings
from cnn_arch.training import optimizer, schedules


def make_optim(**optim):
    words = [f"--config.optim.{name}={value}" for name, value in optim.items()]
    config, _ = settings.parse(["--config=configs/resnet20.py:folder", *words])
    return config, schedules.make_schedule(config, 10)


def rates(config, schedule, errors, start=None):
    """Returns the rate after each epoch with a validation error, and the state."""
    rule = optimizer.make_optimizer(config, schedule)
    state = start or rule.init({"kernel": jnp.ones(3)})
    observe = jax.jit(partial(schedules.observe, config.optim))
    found = []
    for error in errors:
        state = observe(state, error)
        rate_state = schedules.find_rate_state(state)
        assert rate_state
        found.append(float(schedules.rate(config.optim, schedule, rate_state)))
    return found, state


ERRORS = [90.0, 80, 80, 81, 79, 79, 79, 79, 78, 90, 90, 90, 90, 90, 90]


def test_plateau_falls_after_epochs_without_a_lower_error():
    config, schedule = make_optim(schedule="plateau", patience=2, learning_rate=0.1)
    found, _ = rates(config, schedule, ERRORS)
    # 80, 81: two epochs without a lower one; 79, 79; 79 79 is not reached before 78.
    falls = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 4, 5]
    np.testing.assert_allclose(found, 0.1 * 0.1 ** np.array(falls), rtol=1e-4)


def test_plateau_waits_and_has_a_lowest_rate():
    config, schedule = make_optim(
        schedule="plateau", patience=1, cooldown=2, learning_rate=0.1, min_rate=0.005
    )
    found, _ = rates(config, schedule, [50.0] * 8)
    expected = [0.1, 0.01, 0.01, 0.01, 0.005, 0.005, 0.005, 0.005]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_plateau_ignores_a_gain_below_the_threshold():
    config, schedule = make_optim(schedule="plateau", patience=1, threshold=0.01)
    found, _ = rates(config, schedule, [50.0, 49.6, 49.0, 48.4])
    np.testing.assert_allclose(found, [0.1, 0.01, 0.01, 0.01 * 0.1**0], rtol=1e-5)


@pytest.mark.parametrize("killed_after", [1, 4, 8])
def test_plateau_continues_from_its_state(killed_after):
    config, schedule = make_optim(schedule="plateau", patience=2)
    whole, _ = rates(config, schedule, ERRORS)
    first, state = rates(config, schedule, ERRORS[:killed_after])
    saved = jax.tree.map(lambda leaf: jnp.array(np.asarray(leaf)), state)
    rest, _ = rates(config, schedule, ERRORS[killed_after:], start=saved)
    assert first + rest == whole


@pytest.mark.parametrize(
    ("learning_rate", "expected"),
    [(0.1, [0.01, 0.01, 0.01, 0.1, 0.1, 0.1]), (0.001, 6 * [0.001])],
)
def test_start_rate_until_the_training_error_is_low_enough(learning_rate, expected):
    """He et al. 2015, Section 4.2: 0.01 until it is below 80 %, then 0.1."""
    errors = [90.0, 80.0, 79.9, 95.0, 95.0, 95.0]
    config, schedule = make_optim(
        start_error=80.0, start_rate=0.01, learning_rate=learning_rate
    )
    np.testing.assert_allclose(rates_of_steps(config, schedule, errors), expected)


def test_the_rate_falls_although_the_training_error_is_never_low_enough():
    config, schedule = make_optim(
        start_error=80.0,
        start_rate=0.01,
        learning_rate=0.1,
        schedule="step",
        milestones=(0.2, 0.4),
    )
    found = rates_of_steps(config, schedule, 6 * [90.0])
    np.testing.assert_allclose(found, [0.01, 0.01, 0.01, 0.01, 0.001, 0.001])


def rates_of_steps(config, schedule, errors):
    """Returns the rate of each step whose batch has one of the errors, in percent."""
    rule = optimizer.make_optimizer(config, schedule)
    params = {"kernel": jnp.ones(3)}
    state = rule.init(params)
    found = []
    for error in errors:
        rate_state = schedules.find_rate_state(state)
        assert rate_state
        found.append(float(schedules.rate(config.optim, schedule, rate_state)))
        _, state = rule.update(params, state, params, error=jnp.array(error))
    return found


def test_a_rate_of_the_step_alone_has_no_state():
    config, schedule = make_optim()
    state = optimizer.make_optimizer(config, schedule).init({"kernel": jnp.ones(3)})
    assert schedules.find_rate_state(state) is None
