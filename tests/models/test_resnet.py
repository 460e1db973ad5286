"""Blocks, shortcuts and widths of residual networks."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_arch.costs.layers import layer_costs
from cnn_arch.costs.summary import totals
from cnn_arch.errors import UsageError
from cnn_arch.models import create_model
from cnn_arch.models.resnet import (
    BasicBlock,
    Bottleneck,
    CifarResNet,
    ResNet,
    shortcut,
)
from tests.models.conftest import (
    abstract_variables,
    drawn_variables,
    fresh_variables,
    num_params,
    output_shapes,
)
from tests.paper_tables import TOTALS


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


def captured(model, variables, image):
    """Returns the outputs of all modules."""
    apply = partial(model.apply, train=True, capture_intermediates=True, mutable=True)
    return jax.jit(apply)(variables, image)[1]["intermediates"]


@pytest.mark.parametrize(
    "block", [BasicBlock, pytest.param(Bottleneck, marks=pytest.mark.slow)]
)
def test_with_the_last_scale_zero_a_block_begins_as_its_shortcut(block):
    model = ResNet((2,), block, num_classes=10, zero_last_scale=True)
    variables = fresh_variables(model, 32)
    last = "bn2" if block is BasicBlock else "bn3"
    scales = {
        "/".join(key.key for key in path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"])
        if path[-1].key == "scale"
    }
    zero = [name for name, leaf in scales.items() if not leaf.any()]
    assert zero == [f"conv2_{i}/{last}/scale" for i in (1, 2)]
    assert all((leaf == 1).all() for name, leaf in scales.items() if name not in zero)
    image = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
    outputs = captured(model, variables, image)
    before, after = (outputs[name]["__call__"][0] for name in ("conv2_1", "conv2_2"))
    assert before.max() > 0
    np.testing.assert_array_equal(before, after)


def test_a_block_without_batch_norm_by_hand():
    """Two convolutions with biases, and the addition, in NumPy."""
    model = CifarResNet(8, batch_norm=False)
    variables = drawn_variables(model, 8)
    assert not variables.get("batch_stats")
    generator = np.random.default_rng(1)
    params = jax.tree.map(
        lambda x: x + generator.normal(0, 0.1, x.shape).astype(np.float32),
        variables["params"],
    )
    image = generator.normal(size=(2, 8, 8, 3)).astype(np.float32)
    outputs = captured(model, {"params": params}, image)

    def conv3x3(x, layer):
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        total = np.zeros((*x.shape[:3], 16)) + layer["bias"]
        for i in range(3):
            for j in range(3):
                total += padded[:, i : i + 8, j : j + 8] @ layer["kernel"][i, j]
        return total

    x = np.maximum(conv3x3(image, params["conv1"]), 0)
    block = params["conv2_1"]
    assert block.keys() == {"conv1", "conv2"}
    y = conv3x3(np.maximum(conv3x3(x, block["conv1"]), 0), block["conv2"])
    found = outputs["conv2_1"]["__call__"][0]
    np.testing.assert_allclose(found, np.maximum(x + y, 0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fields", [{"batch_norm": False}, {"shortcut": "none"}])
def test_a_last_scale_of_zero_that_would_stop_all_signals_is_refused(fields):
    model = create_model("resnet20", zero_last_scale=True, **fields)
    with pytest.raises(UsageError, match="needs batch_norm and shortcuts"):
        abstract_variables(model, 32)


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


def bottlenecks_by_hand(n, width=1.0):
    """Returns parameters and multiply-adds: n blocks to 64, 128 and 256 maps.

    As resnet-pre-act.lua of He et al. 2016 ("Identity Mappings"), without projections.
    """
    inputs = round(16 * width)
    params, macs = (27 + 2) * inputs, 27 * inputs * 32**2
    for maps, side in zip((16, 32, 64), (32, 16, 8), strict=True):
        maps = round(maps * width)
        for _ in range(n):
            weights = inputs * maps + 9 * maps**2 + 4 * maps**2
            params += weights + 2 * (maps + maps + 4 * maps)
            macs += weights * side**2
            inputs = 4 * maps
    return params + 10 * inputs + 10, macs + 10 * inputs


@pytest.mark.parametrize("width", [1.0, 1.03, 2.0])
def test_bottlenecks_for_cifar_10(width):
    model = create_model("resnet20", 10, block="bottleneck", width=width)
    total = totals(layer_costs(model, 32, 3))
    assert (total["params"], total["macs"]) == bottlenecks_by_hand(3, width)
    assert output_shapes(model, 32)["pool"] == (4 * round(64 * width),)


def test_as_many_bottlenecks_as_blocks_of_resnet_110_make_resnet_164():
    model = create_model("resnet110", 10, block="bottleneck", scan=True)
    params = num_params(abstract_variables(model, 32)["params"])
    assert params == bottlenecks_by_hand(18)[0]
    # Zagoruyko and Komodakis 2016, "Wide Residual Networks", Table 5: both 1.7M.
    assert round(params / 1e6, 1) == round(TOTALS["resnet110"][0] / 1e6, 1) == 1.7


def test_either_block_has_equal_multiply_adds_at_these_widths():
    for depth in (20, 32, 44, 56, 110):
        macs = bottlenecks_by_hand((depth - 2) // 6, 1.03)[1]
        assert macs == pytest.approx(TOTALS[f"resnet{depth}"][1], rel=0.015), depth


@pytest.mark.parametrize("name", ["resnet20", "plain20"])
def test_a_wider_net_has_the_square_of_the_width_in_weights(name):
    total = totals(layer_costs(create_model(name, 10, width=2.0), 32, 3))
    # 27 x 32; six 3x3 of 32, then 64 and 128 maps, of which the first has half as many
    # inputs; BatchNorm; 128 x 10 + 10.
    blocks = 9 * (6 * 32**2 + 5.5 * 64**2 + 5.5 * 128**2)
    norms = 2 * (7 * 32 + 6 * 64 + 6 * 128)
    assert total["params"] == 27 * 32 + blocks + norms + 1290
