"""Learning rates and weight decay, compared with calculations by hand."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnn_arch import settings
from cnn_arch.training import optimizer


def make_config(*words):
    config, _ = settings.parse(["--config=configs/resnet20.py:folder", *words])
    return config


def test_step_schedule_of_resnet20_is_the_papers():
    # He et al. 2015, Section 4.2: 0.1, divided by 10 at 32k and 48k iterations, 64k in
    # all; 351 steps in an epoch of 45,000 images.
    config = make_config()
    rate = optimizer.make_schedule(config, 351)
    assert 63_500 < config.epochs * 351 < 64_500
    for at, expected in [(0, 0.1), (31_900, 0.1), (32_000, 0.01), (48_100, 0.001)]:
        np.testing.assert_allclose(rate(at), expected, rtol=1e-5)


def test_cosine_with_warmup():
    words = ["--config.optim.schedule=cosine", "--config.optim.warmup_epochs=2"]
    config = make_config(*words, "--config.epochs=12")
    rate = optimizer.make_schedule(config, 10)
    by_hand = [
        0.1 * t / 20 if t < 20 else 0.05 * (1 + np.cos(np.pi * (t - 20) / 100))
        for t in range(121)
    ]
    np.testing.assert_allclose([rate(t) for t in range(121)], by_hand, atol=1e-7)


def test_warmup_does_not_move_the_milestones():
    words = ["--config.optim.warmup_epochs=2", "--config.optim.milestones=(5,)"]
    rate = optimizer.make_schedule(make_config(*words, "--config.epochs=12"), 10)
    np.testing.assert_allclose([rate(t) for t in (19, 49, 51)], [0.095, 0.1, 0.01])


@pytest.mark.parametrize(
    ("decay", "bias_after"), [("all", 1 - 0.1 * 0.5), ("kernels", 1.0)]
)
def test_decay_mask(decay, bias_after):
    config = make_config(
        "--config.optim.weight_decay=0.5", f"--config.optim.decay={decay}"
    )
    sgd = optimizer.make_optimizer(config, optax.constant_schedule(0.1))
    params = {"fc": {"kernel": jnp.ones(()), "bias": jnp.ones(())}}
    zeros = optax.tree.zeros_like(params)
    updates, _ = sgd.update(zeros, sgd.init(params), params)
    after = optax.apply_updates(params, updates)["fc"]
    np.testing.assert_allclose(after["kernel"], 1 - 0.1 * 0.5)
    np.testing.assert_allclose(after["bias"], bias_after)
