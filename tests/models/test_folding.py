"""BatchNorm folded into convolutions: the network's outputs stay the same."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict

from cnn_arch.models import MODELS, create_model, layer_output
from cnn_arch.models.folding import Folding
from cnn_arch.models.layers import Conv, ConvBN, batch_norm, relu
from cnn_arch.ops.loops import rolled
from tests.models.conftest import (
    abstract_variables,
    drawn_variables,
    forward,
    mark_slow,
)

# The smallest image without empty maps; for all others, 32 px.
IMAGE_SIZES = {"inception_v3": 299, "inception_v4": 75}
WITH_BATCH_NORM = [
    name
    for name in MODELS
    if name.startswith(("resnet", "plain"))
    or name.endswith("_bn")
    or name in ("inception_v3", "inception_v4", "inception_cifar", "kernel_stacks")
]
some = partial(mark_slow, quick={"resnet20", "vgg11_bn", "inception_cifar"})


@cache
def make(name):
    """Returns a network, variables unlike those at the start, and images."""
    model, side = create_model(name, 10), IMAGE_SIZES.get(name, 32)
    generator = np.random.default_rng(0)

    def change(path, leaf):
        if path[-1].key in ("scale", "var"):
            return generator.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        if path[-1].key in ("bias", "mean"):
            return generator.normal(0, 0.1, leaf.shape).astype(np.float32)
        return leaf

    variables = drawn_variables(model, side)
    variables = jax.tree_util.tree_map_with_path(change, variables)
    images = generator.normal(size=(2, side, side, 3)).astype(np.float32)
    return model, variables, images


def assert_close(found, wanted):
    """Compares outputs, relative to the largest."""
    atol = 1e-5 * np.abs(wanted).max()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=atol)


@pytest.mark.parametrize("name", some(WITH_BATCH_NORM))
def test_the_outputs_stay_the_same(name):
    if name == "resnet1202":
        pytest.skip("as ResNet-110, and takes minutes to compile without its loop")
    model, variables, images = make(name)
    folded = Folding(model, images.shape[1:])(variables)
    paths = flatten_dict(folded["params"]).keys() | flatten_dict(folded["batch_stats"])
    # Evaluation does not use the auxiliary heads.
    left = {path[-1] for path in paths if not path[0].startswith("aux")}
    assert left <= {"kernel", "bias"}, "every layer is folded"
    wanted = forward(model, variables, images)
    assert_close(forward(model, folded, images), wanted)


class OneLayer(nn.Module):
    """A 1x1 convolution and BatchNorm, of one map."""

    use_bias: bool

    @nn.compact
    def __call__(self, x, *, train):
        norm = batch_norm(train=train, axis=None, epsilon=0.25, dtype=jnp.float32)
        return ConvBN(1, 1, use_bias=self.use_bias, norm=norm, name="layer")(x)


@pytest.mark.parametrize("use_bias", [False, True])
def test_by_hand(use_bias):
    conv = {"kernel": np.full((1, 1, 1, 1), 3.0)} | (
        {"bias": np.full(1, 5.0)} if use_bias else {}
    )
    layer = {"conv": conv, "bn": {"scale": np.full(1, 2.0), "bias": np.full(1, 7.0)}}
    statistics = {"bn": {"mean": np.full(1, 1.5), "var": np.full(1, 0.75)}}
    variables = {"params": {"layer": layer}, "batch_stats": {"layer": statistics}}
    found = Folding(OneLayer(use_bias), (1, 1, 1))(variables)["params"]["layer"]
    # 2 / sqrt(0.75 + 0.25) = 2; 3 * 2 = 6; 7 - 2 * 1.5 = 4, and 2 * 5 more.
    kernel = {"kernel": 6}
    folded = {"conv": kernel, "bn": {"bias": 4}}
    assert found == ({"conv": kernel | {"bias": 14}} if use_bias else folded)


class Unfoldable(nn.Module):
    """Convolutions before BatchNorm that cannot have it in their kernels."""

    @nn.compact
    def __call__(self, x, *, train):
        norm = batch_norm(train=train, axis=None, dtype=jnp.float32)
        x = Conv(4, 3, name="read_twice")(x)  # as before a block with pre-activation
        x += norm(name="bn1")(x)
        x = Conv(4, 3, activation=relu, name="with_activation")(x)
        x = norm(name="bn2")(x)
        twice = Conv(4, 1, name="used_twice")
        x = norm(name="bn3")(twice(x)) + norm(name="bn4")(twice(x + 1))
        x = norm(name="bn6")(norm(name="bn5")(Conv(4, 1, name="foldable")(x)))
        return x.mean(axis=(1, 2))


def test_what_cannot_be_folded_stays_as_it_is():
    model = Unfoldable()
    generator = np.random.default_rng(0)
    images = generator.normal(size=(2, 8, 8, 3)).astype(np.float32)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
    variables = jax.tree.map(lambda leaf: generator.uniform(0.5, 1, leaf.shape), shapes)
    folded = Folding(model, (8, 8, 3))(variables)
    assert folded["batch_stats"].keys() == {"bn1", "bn2", "bn3", "bn4", "bn6"}
    assert_close(forward(model, folded, images), forward(model, variables, images))


def test_a_network_without_batch_norm_stays_as_it_is():
    model = create_model("lenet5")
    variables = drawn_variables(model, 32, 1)
    assert Folding(model, (32, 32, 1))(variables) is variables


def check_precisions(folded, last):
    """Kernels are bfloat16 but for the last layer's; all else is float32."""
    params: Any = flatten_dict(folded["params"])
    for path, array in params.items():
        is_rounded = path[-1] == "kernel" and path[0] != last
        assert array.dtype == (jnp.bfloat16 if is_rounded else jnp.float32), path


@pytest.mark.parametrize(("name", "last"), [("lenet", "fc3"), ("alexnet_owt", "fc8")])
def test_kernels_are_rounded_to_bfloat16_once(name, last):
    """The network's outputs have the same bits; its last layer is float32."""
    channels, side = (1, 28) if name == "lenet" else (3, 63)
    model = create_model(name, 10, dtype=jnp.bfloat16)
    variables = drawn_variables(model, side, channels)
    folded = Folding(model, (side, side, channels))(variables)
    check_precisions(folded, last)
    generator = np.random.default_rng(0)
    images = generator.normal(size=(2, side, side, channels)).astype(np.float32)
    wanted = forward(model, variables, images)
    np.testing.assert_array_equal(forward(model, folded, images), wanted)


def test_folded_kernels_are_rounded_after_the_folding():
    exact_model, variables, images = make("resnet20")
    model = create_model("resnet20", 10, dtype=jnp.bfloat16)
    folded = Folding(model, images.shape[1:])(variables)
    check_precisions(folded, "fc")
    exact = forward(exact_model, variables, images)
    with_norm, without = (
        np.abs(forward(model, each, images) - exact).max()
        for each in (variables, folded)
    )
    assert 0 < without < 2 * with_norm < 0.1 * np.abs(exact).max()


def test_the_convolution_whose_output_is_wanted_stays_as_it_is():
    model, variables, images = make("resnet20")
    folding = Folding(model, images.shape[1:])
    for layer in ("conv2_2/conv1", "conv2_2/bn1", "pool"):
        folded = folding(variables, keep=layer)
        output = jax.jit(partial(layer_output, model, layer=layer))
        assert_close(output(folded, images), output(variables, images))
    folded = folding(variables)["params"]["conv2_2"]["conv1"]["kernel"]
    kept = folding(variables, keep="conv2_2/conv1")["params"]["conv2_2"]["conv1"]
    np.testing.assert_array_equal(
        kept["kernel"], variables["params"]["conv2_2"]["conv1"]["kernel"]
    )
    assert not np.array_equal(folded, kept["kernel"])


def test_blocks_in_a_loop():
    model, variables, images = make("resnet20")
    looped = create_model("resnet20", 10, scan=True)
    stacked = rolled(variables, abstract_variables(looped, 32))
    folded = Folding(looped, images.shape[1:])(stacked)
    assert not jax.tree.leaves(folded["batch_stats"])
    wanted = forward(model, variables, images)
    assert_close(forward(looped, folded, images), wanted)
