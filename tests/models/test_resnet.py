"""Blocks and shortcuts of residual networks."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_arch.models import create_model
from cnn_arch.models.resnet import BasicBlock, Bottleneck, ResNet, shortcut
from tests.models.conftest import drawn_variables, output_shapes


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_residual_block_with_zero_weights_is_the_identity(block):
    model = ResNet((2,), block, num_classes=10)
    variables = drawn_variables(model, 32)
    params = variables["params"]
    params["conv2_2"] = jax.tree.map(jnp.zeros_like, params["conv2_2"])
    image = jax.random.normal(jax.random.key(1), (1, 32, 32, 3))
    apply = partial(
        model.apply, train=False, capture_intermediates=True, mutable=["intermediates"]
    )
    state = jax.jit(apply)(variables, image)[1]["intermediates"]
    before, after = (state[name]["__call__"][0] for name in ("conv2_1", "conv2_2"))
    assert np.abs(before).max() > 0
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(("name", "side"), [("resnet50", 28), ("resnet50_v1_5", 56)])
def test_where_a_bottleneck_halves_the_map(name, side):
    shapes = output_shapes(create_model(name), 224)
    assert shapes["conv3_1/conv1"] == (side, side, 128)
    assert shapes["conv3_1/conv2"] == (28, 28, 128)


def test_option_a_subsamples_and_pads_with_zeros():
    x = jnp.arange(2 * 4 * 4 * 3.0).reshape(2, 4, 4, 3)
    block = BasicBlock(5, stride=2, option="A", conv=nn.Conv, norm=nn.BatchNorm)
    y = shortcut(block, x, 5)
    np.testing.assert_array_equal(y[..., :3], x[:, ::2, ::2])
    assert y.shape == (2, 2, 2, 5) and not y[..., 3:].any()


@pytest.mark.parametrize("option", ["A", "B", "C"])
def test_gradients_with_every_shortcut_option(option):
    model = ResNet((1, 1), BasicBlock, num_classes=10, shortcut=option)
    variables = drawn_variables(model, 32)
    image = jax.random.normal(jax.random.key(1), (4, 32, 32, 3))

    def loss(params):
        both = variables | {"params": params}
        logits, _ = model.apply(both, image, train=True, mutable=["batch_stats"])
        return -jax.nn.log_softmax(logits)[:, 0].mean()

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, path
