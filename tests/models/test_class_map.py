"""Networks over whole images: equal to sliding them, position by position."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_arch.errors import UsageError
from cnn_arch.models import create_model, layer_output
from cnn_arch.models.class_map import check_class_map, class_map, window_sides
from cnn_arch.ops.sliding import sliding
from tests.models.conftest import drawn_variables, forward, mark_slow

# The layer whose maps the head reads, and a size at which these are 2 x 2.
NETWORKS = {
    "vgg11": ("pool5", 64),
    "alexnet": ("pool5", 99),
    "zfnet": ("pool5", 95),
    "resnet18": ("conv5_2", 64),
    "resnet20": ("conv4_3", 32),
    "googlenet": ("inception_5b", 64),
    "nin": ("mlpconv4", 99),
    "lenet5": ("C5", 32),
}
DENSE = {"vgg11": "fc6 fc7 fc8", "alexnet": "fc6 fc7 fc8", "zfnet": "fc6 fc7 fc8"}
QUICK = ("lenet5",)


def images(height, width, channels=3):
    shape = 1, height, width, channels
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def head(name, params, window):
    """Computes the logits of a window of the maps, in NumPy."""
    if name in DENSE:
        x = window.reshape(-1)
        for layer in DENSE[name].split():
            x = x @ params[layer]["kernel"] + params[layer]["bias"]
            x = x if layer == "fc8" else np.maximum(x, 0)
        return x
    x = window.mean(axis=(0, 1))
    if name == "nin":
        return x
    if name == "lenet5":
        x = x @ params["F6"]["kernel"] + params["F6"]["bias"]
        x = 1.7159 * np.tanh(2 / 3 * x)
    last = params["output" if name == "lenet5" else "fc"]
    return x @ last["kernel"] + last["bias"]


@pytest.mark.parametrize("name", mark_slow(NETWORKS, QUICK))
def test_each_position_is_the_head_on_its_window(name):
    layer, size = NETWORKS[name]
    channels = 1 if name == "lenet5" else 3
    # Auxiliary heads need larger maps, and have no part in evaluation.
    fields = {"aux_heads": False} if name == "googlenet" else {}
    model = create_model(name, 5, **fields)
    variables = drawn_variables(model, size, channels)
    windows = window_sides(model, size, channels)
    image = images(size + 64, size + 32, channels)
    with sliding(windows):  # the head cannot read the maps of a larger image
        maps = np.asarray(layer_output(model, variables, image, layer)[0])
    over_image = jax.jit(lambda image: class_map(model, variables, image, windows))
    found = np.asarray(over_image(image)[0])
    side = maps.shape[0] - found.shape[0] + 1
    assert side == maps.shape[1] - found.shape[1] + 1
    assert side == {"lenet5": 1, "resnet20": 8}.get(name, 2)
    params = jax.tree.map(np.float64, variables["params"])
    scale = np.abs(found).max()
    for i, j in np.ndindex(found.shape[:2]):
        window = maps[i : i + side, j : j + side]
        expected = head(name, params, window)
        np.testing.assert_allclose(found[i, j], expected, atol=1e-4 * scale)
    # At the size of training there is one position: the network itself.
    image = image[:, :size, :size]
    (alone,) = over_image(image).reshape(1, 5)
    logits = forward(model, variables, image)[0]
    np.testing.assert_allclose(alone, logits, atol=1e-5 * np.abs(logits).max())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "stride"),
    [("vgg11_lrn", 64, 32), ("alexnet", 99, 32)],
)
def test_it_equals_the_network_moved_over_the_image(name, size, stride):
    """Kernels of which only the centre is not 0: a border of zeros has no effect."""
    model = create_model(name, 5)
    variables = drawn_variables(model, size, 3)
    for layer, arrays in variables["params"].items():
        kernel = np.array(arrays["kernel"])
        if kernel.ndim == 4 and (name, layer) != ("alexnet", "conv1"):
            centre = kernel.shape[0] // 2
            only = np.zeros_like(kernel)
            only[centre, centre] = kernel[centre, centre] * kernel.shape[0] ** 2
            arrays["kernel"] = only
    image = images(size + 2 * stride, size + stride)
    found = class_map(model, variables, image, window_sides(model, size, 3))[0]
    assert found.shape == (3, 2, 5)
    apply = jax.jit(lambda image: model.apply(variables, image, train=False)[0])
    for i, j in np.ndindex(3, 2):
        y, x = stride * i, stride * j
        expected = apply(image[:, y : y + size, x : x + size])
        atol = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(found[i, j], expected, atol=atol)
    assert np.ptp(found, axis=(0, 1)).min() > 0


def test_a_network_for_one_size_is_refused():
    model = create_model("cuda_convnet")
    with pytest.raises(UsageError, match="has a layer for images of 24 px only"):
        check_class_map(model, "cuda_convnet", 24, 3)
    check_class_map(create_model("resnet20"), "resnet20", 32, 3)
