"""Whether BatchNorm's variance is exact enough."""

import numpy as np
import pytest

from cnn_arch.training.statistics import inexact_layer


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
