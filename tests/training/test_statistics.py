"""Whether BatchNorm's variance is exact enough."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_arch.data import normalisation
from cnn_arch.models.layers import BatchNorm
from cnn_arch.training.statistics import inexact_layer
from configs import base


def statistics(ratio):
    means = np.array([0.5, -3 * ratio], np.float32)
    variances = np.array([1, 9], np.float32)
    return {
        "conv1": {"bn": {"mean": np.ones(2), "var": np.ones(2)}},
        "conv2": {"bn": {"mean": means, "var": variances}},
    }


def test_a_layer_with_a_large_mean_is_named():
    layer, error = inexact_layer(statistics(1000)) or ("", 0)
    assert layer == "conv2/bn"
    assert error == pytest.approx(8 * 2.0**-24 * 1000**2, rel=1e-4)  # 48 %
    assert inexact_layer(statistics(90)) is None
    assert inexact_layer({}) is None


def test_the_mean_that_the_warning_names_makes_the_variance_exact():
    pixels = np.random.default_rng(0).integers(250, 252, (8, 4, 4, 3), np.uint8)
    layer = BatchNorm(train=True, axis=None, epsilon=1e-5, dtype=jnp.float32)

    def worst(mean):
        data = base.get_config("folder").data
        with data.unlocked():
            data.mean, data.std = mean, (1.0,) * 3
        image = normalisation.normalise(jnp.array(pixels), data)
        variables = layer.init(jax.random.key(0), image)
        for _ in range(60):  # until the running averages are the batch's own
            _, new = layer.apply(variables, image, mutable=["batch_stats"])
            variables = {**variables, **new}
        return inexact_layer({"bn": variables["batch_stats"]})

    assert worst((0.0,) * 3) is not None  # mean 250.5, deviation 0.5
    assert worst((250.5,) * 3) is None


@pytest.mark.slow
def test_a_trained_network_is_far_from_the_bound(finished):
    """Also in a ResNet-20: the mean is a few deviations."""
    workdir, output = finished
    assert "BatchNorm" not in output
    with np.load(workdir / "weights_best.npz") as weights:
        means = [name for name in weights.files if name.endswith("/mean")]
        for name in means:
            variance = weights[name.removesuffix("mean") + "var"]
            assert (np.abs(weights[name]) < 30 * np.sqrt(variance + 1e-5)).all(), name
