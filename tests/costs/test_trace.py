"""A traced network has the variables of a real one, and stays as it is."""

import jax
import pytest
from flax import linen as nn

from cnn_arch.costs.layers import layer_costs
from cnn_arch.costs.modules import Stack
from cnn_arch.costs.trace import variable_shapes
from cnn_arch.models import create_model, init_variables
from tests.models.conftest import mark_slow

NETWORKS = "lenet5", "resnet20", "googlenet", "inception_v4"


@pytest.mark.parametrize("network", mark_slow(NETWORKS, ("lenet5", "resnet20")))
def test_variables_are_those_of_the_initial_values(network):
    model = create_model(network, 10)
    size, channels = {"lenet5": (32, 1), "resnet20": (32, 3)}.get(network, (299, 3))
    drawn = jax.eval_shape(
        lambda key: init_variables(model, key, size, channels), jax.random.key(0)
    )
    assert variable_shapes(model, size, channels) == drawn


def test_a_module_keeps_its_initial_values():
    """Tracing draws none, but training the same network does."""
    init = nn.initializers.normal(0.5)
    layer = nn.Dense(4, kernel_init=init)
    network = Stack([layer])
    layer_costs(network, 8, 3)
    assert layer.kernel_init is init and network.layers[0].kernel_init is init
