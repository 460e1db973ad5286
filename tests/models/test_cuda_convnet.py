"""AlexNet's network for CIFAR-10 against NumPy and cuda-convnet's files."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnn_arch.costs.layers import layer_costs
from cnn_arch.costs.summary import depth, totals
from cnn_arch.models import create_model, layer_output
from cnn_arch.models.cuda_convnet import LocallyConnected
from cnn_arch.models.layers import LocalResponseNorm
from cnn_arch.ops import conv
from cnn_arch.ops.platform import plain_forms
from tests.costs.conftest import rows_of
from tests.models.conftest import drawn_variables, output_shapes

RANDOM = np.random.default_rng(0)


def test_a_locally_connected_layer_has_its_own_filters_at_each_position():
    x = RANDOM.standard_normal((2, 4, 5, 3)).astype(np.float32)
    kernel = RANDOM.standard_normal((4, 5, 27, 6)).astype(np.float32)
    bias = RANDOM.standard_normal((4, 5, 6)).astype(np.float32)
    layer = LocallyConnected(6, jnp.tanh)
    variables = {"params": {"kernel": kernel, "bias": bias}}
    y = np.asarray(layer.apply(variables, x))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for i, j in np.ndindex(4, 5):
        patch = padded[:, i : i + 3, j : j + 3].reshape(2, 27)  # rows, columns, maps
        expected = np.tanh(patch @ kernel[i, j] + bias[i, j])
        np.testing.assert_allclose(y[:, i, j], expected, atol=1e-6)


def test_equal_filters_make_a_convolution():
    x = RANDOM.standard_normal((2, 6, 6, 4)).astype(np.float32)
    kernel = RANDOM.standard_normal((3, 3, 4, 8)).astype(np.float32)
    shared = np.broadcast_to(kernel.reshape(36, 8), (6, 6, 36, 8))
    params = {"kernel": shared, "bias": np.zeros((6, 6, 8), np.float32)}
    y = np.asarray(LocallyConnected(8, lambda x: x).apply({"params": params}, x))
    conv = nn.Conv(8, (3, 3), use_bias=False)
    expected = np.asarray(conv.apply({"params": {"kernel": kernel}}, x))
    np.testing.assert_allclose(y, expected, atol=1e-4)


def test_normalisation_across_nine_maps():
    # cuda-convnet's conv_util.cu: target = image * (1 + scale * sum) ** -pow, and
    # layer.py divides the scale by the size.
    x = 50 * RANDOM.standard_normal((2, 3, 3, 64)).astype(np.float32)
    norm = LocalResponseNorm(num_maps=9, k=1.0, alpha=0.001 / 9)
    y = np.asarray(norm.apply({}, jnp.array(x)))
    for f in range(64):
        sums = np.square(x[..., max(0, f - 4) : f + 5]).sum(axis=-1)
        expected = x[..., f] * (1 + 0.001 / 9 * sums) ** -0.75
        np.testing.assert_allclose(y[..., f], expected, rtol=1e-5)


def test_each_layer_has_the_files_sizes():
    rows = {row.name: row for row in rows_of("cuda_convnet")}
    params = {name: row.params for name, row in rows.items() if row.params}
    assert params == {
        "conv1": 75 * 64 + 64,
        "conv2": 1600 * 64 + 64,
        "local3": 36 * (576 + 1) * 64,
        "local4": 36 * (576 + 1) * 32,
        "fc10": 1152 * 10 + 10,
    }
    local = rows["local3"]
    assert (local.kind, local.macs, local.biases) == ("local", 36 * 576 * 64, 36 * 64)
    assert local.xla_flops == 2 * local.macs + 36 * 64  # and a bias each
    # 5; pool +2; conv +4 x 2; pool +2 x 2; local +2 x 4, twice.
    assert (local.receptive_field, local.receptive_stride) == (27, 4)
    assert rows["local4"].receptive_field == 35
    assert rows["local3"].inputs == ("pool2",)
    assert rows["rnorm1"].inputs == ("pool1",)
    assert rows["local4"].inputs == ("local3/relu",)
    assert depth(rows_of("cuda_convnet")) == 5


def test_the_layers_apply_the_activation_that_is_asked_for():
    x = RANDOM.standard_normal((2, 24, 24, 3)).astype(np.float32)
    model = create_model("cuda_convnet", 10)
    variables = drawn_variables(model, 24)
    formulas = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh}
    formulas["sigmoid"] = lambda x: 1 / (1 + np.exp(-x))
    kernel = variables["params"]["conv1"]["kernel"]
    conv = nn.Conv(64, (5, 5), use_bias=False)  # the biases are drawn as zeros
    plain = np.asarray(conv.apply({"params": {"kernel": kernel}}, x))
    for name, formula in formulas.items():
        chosen = model.clone(activation=name)
        y = jax.jit(partial(layer_output, chosen, layer="conv1"))(variables, x)
        np.testing.assert_allclose(y, formula(plain), atol=1e-4)


@pytest.mark.parametrize("side", [24, 28])
def test_pools_that_do_not_overlap_give_maps_of_the_same_sides(side):
    overlapping = output_shapes(create_model("cuda_convnet", 10), side)
    apart = output_shapes(create_model("cuda_convnet", 10, pool_window=2), side)
    assert overlapping == apart
    assert apart["pool1"][0] == side // 2 and apart["pool2"][0] == side // 4
    rows = layer_costs(create_model("cuda_convnet", 10, pool_window=2), side, 3)
    (pool1,) = (row for row in rows if row.name == "pool1")
    assert pool1.other_operations == 64 * (side // 2) ** 2 * 3  # a maximum of four


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_the_network_of_thirteen_percent(activation):
    fields = {"local_response_norm": False, "local3_width": 32}
    model = create_model("cuda_convnet", 10, activation=activation, **fields)
    rows = layer_costs(model, 24, 3)
    # 4,864 + 102,464 + 36 x 577 x 32 + 36 x 289 x 32 + 11,530
    assert totals(rows)["params"] == 1_116_490
    assert "lrn" not in {row.kind for row in rows}
    activations = [row.name for row in rows if row.kind == "activation"]
    layers = ("conv1", "conv2", "local3", "local4")
    assert activations == [f"{layer}/{activation}" for layer in layers]


def test_a_product_for_each_position_has_the_gradients_of_the_plain_form():
    generator = np.random.default_rng(0)
    x = jnp.array(generator.normal(size=(3, 4, 5, 6)), jnp.float32)
    kernel = jnp.array(generator.normal(size=(4, 5, 6, 7)), jnp.float32)

    def gradients():  # compiled anew for each form
        def loss(x, kernel):
            return jnp.square(conv.multiply_each_position(x, kernel)).sum()

        return jax.jit(jax.value_and_grad(loss, (0, 1)))(x, kernel)

    product = np.einsum("bhwi,hwio->bhwo", x, kernel)
    found = conv.multiply_each_position(x, kernel)
    np.testing.assert_allclose(found, product, rtol=1e-4, atol=1e-4)
    on_cpu = gradients()
    with plain_forms():
        plain = gradients()
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), on_cpu, plain
    )
