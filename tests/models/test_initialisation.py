"""Fresh variables against each paper's initialisation."""

import jax
import numpy as np
import pytest

from cnn_arch.models import INIT_OPTIONS, create_model, init_variables
from tests.models.conftest import fresh_variables, mark_slow


def drawn(name, image_size, layers=(), **fields):
    """Draws all layers, or only some: the compiler then leaves the others out."""
    model = create_model(name, 10, **fields)

    def draw(key):
        params = init_variables(model, key, image_size, 3)["params"]
        return {layer: params[layer] for layer in layers or params}

    return jax.jit(draw, compiler_options=INIT_OPTIONS)(jax.random.key(0))


def deviation(kernel):
    return float(np.asarray(kernel, np.float64).std())


@pytest.mark.parametrize(
    "name", mark_slow(["alexnet", "alexnet_one_tower"], {"alexnet"})
)
def test_alexnet(name):
    """Krizhevsky et al. 2012, Section 5."""
    params = drawn(name, 67)
    for layer, tree in params.items():
        assert deviation(tree["kernel"]) == pytest.approx(0.01, rel=0.02), layer
        one = layer in ("conv2", "conv4", "conv5", "fc6", "fc7")
        np.testing.assert_array_equal(tree["bias"], float(one))


@pytest.mark.parametrize(
    "name", mark_slow(["alexnet_owt", "zfnet", "vgg11"], {"zfnet"})
)
def test_normal_weights_and_zero_biases(name):
    params = drawn(name, 64)
    for layer, tree in params.items():
        assert deviation(tree["kernel"]) == pytest.approx(0.01, rel=0.05), layer
        assert not tree["bias"].any()


def test_vgg16_is_glorots():
    params = drawn("vgg16", 32, ["conv1_2", "conv3_1", "fc6"])
    for layer, fans in {
        "conv1_2": 9 * 64 + 9 * 64,
        "conv3_1": 9 * 128 + 9 * 256,
        "fc6": 512 + 4096,
    }.items():
        kernel = np.asarray(params[layer]["kernel"])
        assert deviation(kernel) == pytest.approx(np.sqrt(2 / fans), rel=0.02)
        assert np.abs(kernel).max() <= np.sqrt(6 / fans)
        assert not params[layer]["bias"].any()


def test_googlenet_is_caffes_xavier():
    params = drawn("googlenet", 16, ["inception_4a", "fc"], aux_heads=False)
    kernel = params["inception_4a"]["3x3"]["kernel"]
    assert kernel.shape == (3, 3, 96, 208)
    assert deviation(kernel) == pytest.approx(np.sqrt(1 / (9 * 96)), rel=0.02)
    np.testing.assert_allclose(params["inception_4a"]["3x3"]["bias"], 0.2)
    assert not params["fc"]["bias"].any()


def test_nin():
    params = drawn("nin", 39, ["mlpconv2", "mlpconv4"])
    assert deviation(params["mlpconv2"]["conv"]["kernel"]) == pytest.approx(0.05, 0.02)
    assert deviation(params["mlpconv4"]["mlp2"]["kernel"]) == pytest.approx(0.01, 0.05)


def all_weights(params):
    """Returns the values of every kernel."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    kernels = [leaf for path, leaf in leaves if path[-1].key == "kernel"]
    return np.concatenate(list(map(np.ravel, kernels)))


@pytest.mark.slow
def test_googlenet_bn_is_torchvisions():
    """Truncated at +-2, 200 deviations."""
    weights = all_weights(drawn("googlenet_bn", 15))
    assert deviation(weights) == pytest.approx(0.01, rel=0.01)
    assert np.abs(weights).max() > 0.04


@pytest.mark.slow  # half a minute
@pytest.mark.parametrize("name", ["inception_v3", "inception_v4"])
def test_inception_is_tf_slims(name):
    """Truncated at two deviations, which leaves 0.88 of the deviation."""
    fields = {"aux_heads": False} if name == "inception_v3" else {}
    weights = all_weights(drawn(name, 75, **fields))
    assert deviation(weights) == pytest.approx(0.088, rel=0.01)
    assert np.abs(weights).max() <= 0.2 + 1e-6


def test_resnet_is_hes():
    """He et al. 2015, Section 3.4: variance 2 / fan-in, not truncated."""
    params = drawn("resnet18", 32, ["conv3_2"])
    kernel = params["conv3_2"]["conv2"]["kernel"]
    assert kernel.shape == (3, 3, 128, 128)
    assert deviation(kernel) == pytest.approx(np.sqrt(2 / (9 * 128)), rel=0.01)
    assert np.abs(kernel).max() > 3.5 * deviation(kernel)


def test_lenet5():
    """LeCun et al. 1998, Appendix A: uniform in 2.4 / fan-in."""
    params = fresh_variables(create_model("lenet5", 10), 32, 1)["params"]
    for layer, fan_in in {"C1": 25, "C5": 400, "F6": 120}.items():
        kernel = np.abs(params[layer]["kernel"])
        assert 0.9 * 2.4 / fan_in < kernel.max() <= 2.4 / fan_in
