"""Weights of Caffe, compared with OpenCV, which reads and runs Caffe's files."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict

from cnn_arch import settings
from cnn_arch.evaluation.network import from_file
from cnn_arch.models import create_model
from cnn_arch.models.resnet import Bottleneck, ResNet
from cnn_arch.parallel.mesh import make_mesh
from cnn_arch.screen import Screen
from cnn_arch.weights.caffe import from_caffe
from cnn_arch.weights.caffe_file import read_network
from cnn_arch.weights.caffe_networks import CAFFE, find
from cnn_arch.weights.files import Weights, read_weights
from tests.models.conftest import abstract_variables, mark_slow
from tests.weights import caffe_files, caffe_nets
from tests.weights.caffe_files import Net, caffemodel, write
from tests.weights.caffe_nets import NUM_CLASSES, Small, small

# In px; others 224. All maps have partial windows where those of 224 px have them.
SIZES = {"alexnet": 131, "googlenet": 96, "vgg16": 64, "vgg19": 32}


def images(size: int) -> np.ndarray:
    generator = np.random.default_rng(size)
    return generator.integers(0, 256, (2, size, size, 3)).astype(np.float32)


def opencv_logits(paths: tuple[Path, Path], image: np.ndarray, mean: Any) -> np.ndarray:
    """Returns what OpenCV computes from Caffe's files for RGB images."""
    import cnn_arch.data  # noqa: F401, I001 - sets the limits of OpenCV
    import cv2

    net = cv2.dnn.readNetFromCaffe(*map(str, paths))
    bgr = (image - np.array(mean, np.float32))[..., ::-1].transpose(0, 3, 1, 2)
    net.setInput(np.ascontiguousarray(bgr))
    return net.forward().reshape(len(image), -1)


def logits(model: nn.Module, weights: Weights, image: np.ndarray) -> np.ndarray:
    mean, std = (jnp.array(values) for values in (weights.mean, weights.std))
    apply = jax.jit(partial(model.apply, train=False))
    return np.asarray(apply(weights.variables, (image - mean) / std))


def relative_error(ours: np.ndarray, expected: np.ndarray) -> float:
    assert ours.shape == expected.shape
    return np.linalg.norm(ours - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("settings", [{}, {"alpha": 0.3}])
def test_logits_equal_opencvs(settings, caffe, tmp_path):
    paths = write(small(**settings), tmp_path)
    weights = read_weights(str(paths[1]), "small")
    image = images(32)
    expected = opencv_logits(paths, image, weights.mean)
    assert relative_error(logits(Small(), weights, image), expected) < 1e-5


def test_the_constants_of_the_paper_change_no_array(caffe, tmp_path):
    """Caffe divides alpha by the number of maps. OpenCV does not read k."""
    path = write(small(alpha=5e-4, k=2.0), tmp_path)[1]
    params = read_weights(str(path), "small").variables["params"]
    for layer in small().layers:
        if layer.name in ("conv2", "left", "right"):
            kernel, bias = layer.arrays()
            ours = params[layer.name]
            np.testing.assert_allclose(ours["kernel"].transpose(3, 2, 0, 1), kernel)
            np.testing.assert_allclose(ours["bias"], bias)


def residual(net: Net, **settings: float) -> Net:
    """Makes a ResNet of one stage with two blocks; conv1 has a bias."""
    net.conv("conv1", 64, 7, stride=2, pad=3, relu=False)
    net.norm("_conv1", relu=True, **settings)
    net.pool("pool1", 3, 2)
    caffe_nets.bottleneck(net, "2a", 64)
    caffe_nets.bottleneck(net, "2b", 64)
    net.pool("pool5", net.maps[net.top][1], 1, pool=1)
    net.dense("fc1000", NUM_CLASSES, relu=False)
    return net


@pytest.mark.parametrize("settings", [{}, {"eps": 0.2}])
def test_residual_logits_equal_opencvs(settings, tmp_path):
    paths = write(residual(Net(32), **settings), tmp_path)
    weights = read_weights(str(paths[1]), "resnet50")
    model = ResNet((2,), Bottleneck, NUM_CLASSES, **weights.fields)
    image = images(32)
    expected = opencv_logits(paths, image, weights.mean)
    assert relative_error(logits(model, weights, image), expected) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", CAFFE)
def test_logits_of_the_authors_networks_equal_opencvs(name, tmp_path):
    size = SIZES.get(name, 224)
    net = caffe_nets.NETWORKS[name](Net(size), NUM_CLASSES)
    paths = write(net, tmp_path, old=not name.startswith("resnet"))
    weights = read_weights(str(paths[1]), name)
    model = create_model(name, NUM_CLASSES, **weights.fields)
    image = images(size)
    expected = opencv_logits(paths, image, weights.mean)
    assert relative_error(logits(model, weights, image), expected) < 1e-5


@pytest.mark.parametrize("name", mark_slow(CAFFE, {"alexnet", "vgg16", "nin"}))
def test_each_network_has_the_layers_of_its_authors_file(name, tmp_path):
    heads = {"heads": True} if name == "googlenet" else {}
    size = 227 if name == "alexnet" else 224
    net = caffe_nets.NETWORKS[name](Net(size), NUM_CLASSES, **heads)
    path = tmp_path / "settings.caffemodel"
    path.write_bytes(caffemodel(net.layers, arrays=False))
    shapes = {layer.name: layer.shapes for layer in net.layers}
    given = {
        key: dataclasses.replace(
            layer, arrays=tuple(np.broadcast_to(np.float32(1), x) for x in shapes[key])
        )
        for key, layer in read_network(str(path)).items()
    }
    found, others = from_caffe(name, given)
    model = create_model(name, NUM_CLASSES, **CAFFE[name].fields)
    expected: Any = flatten_dict(abstract_variables(model, size))
    assert {key: x.shape for key, x in found.items()} == {
        key: x.shape for key, x in expected.items()
    }
    assert not others


def test_a_transposed_dense_layer_is_turned(caffe, tmp_path):
    net = small()
    plain = tmp_path / "net.caffemodel"
    plain.write_bytes(caffemodel(net.layers))
    layer = net.layers[-1]
    kernel, bias = layer.arrays()

    class Turned(caffe_files.Layer):
        def arrays(self) -> list[np.ndarray]:
            return [np.ascontiguousarray(kernel.T), bias]

    turned = Turned(*layer._replace(settings={**layer.settings, "transpose": True}))
    other = tmp_path / "turned.caffemodel"
    other.write_bytes(caffemodel([*net.layers[:-1], turned]))
    variables = [read_weights(str(path), "small").variables for path in (plain, other)]
    jax.tree.map(np.testing.assert_array_equal, *variables)


@pytest.mark.parametrize(
    ("network", "layer", "ours"),
    [
        ("resnet50", "res4f_branch2c", ("conv4_6", "conv3")),
        ("resnet50", "bn3a_branch1", ("conv3_1", "shortcut_bn")),
        ("resnet152", "scale3b7_branch2b", ("conv3_8", "bn2")),
        ("googlenet", "inception_4d/3x3_reduce", ("inception_4d", "3x3_reduce")),
        ("googlenet", "loss2/fc", ("aux2", "fc1")),
    ],
)
def test_layers_of_caffe_have_their_names_here(network, layer, ours):
    assert find(network).rename(layer) == ours


@pytest.mark.slow
def test_the_network_of_an_evaluation_computes_opencvs_logits(tmp_path):
    """ResNet-50 has a field, a mean and a deviation other than those of its recipe."""
    net = caffe_nets.NETWORKS["resnet50"](Net(64), 1000)
    paths = write(net, tmp_path)
    word = "--config.data.image_size=64"
    config, _ = settings.parse(["--config=configs/resnet50.py", word])
    mesh = make_mesh(1, 1)
    network = from_file(str(paths[1]), None, config, mesh, Screen(quiet=True))
    assert network.origin["ceil_mode"] and not config.model.fields.ceil_mode
    assert len(network.class_names) == 1000
    image = images(64)
    expected = opencv_logits(paths, image, network.origin["mean"])
    ours = jax.jit(network.logits)(network.variables, image.astype(np.uint8))
    assert relative_error(np.asarray(ours), expected) < 1e-5
