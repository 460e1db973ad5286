"""What the test at the end of a run draws of a network."""

import numpy as np
import pytest

from cnn_arch.evaluation.final_test import first_kernel
from cnn_arch.models import create_model
from tests.models.conftest import drawn_variables


@pytest.mark.parametrize(
    ("name", "channels", "path"),
    [
        ("lenet5", 1, ("C1",)),
        ("resnet20", 3, ("conv1",)),
        ("googlenet_bn", 3, ("conv1", "conv")),  # BatchNorm is in the layer
    ],
)
def test_the_first_kernel_is_found(name, channels, path):
    params = drawn_variables(create_model(name, 10), 32, channels)["params"]
    layer = params
    for key in path:
        layer = layer[key]
    np.testing.assert_array_equal(first_kernel(params), layer["kernel"])


def test_a_first_layer_of_another_name_has_none():
    assert first_kernel({"Conv2d_1a_3x3": {"conv": {"kernel": np.ones(1)}}}) is None
