"""The outputs of named layers for every example of a split."""

import jax
import numpy as np
import pytest

from cnn_arch.data.bundled import ArraySource
from cnn_arch.errors import UsageError
from cnn_arch.evaluation import features
from cnn_arch.evaluation.network import Network
from cnn_arch.models import create_model, layer_output
from cnn_arch.parallel.mesh import make_mesh
from cnn_arch.screen import Screen
from tests.evaluation.test_one_crop import SOURCE, lenet_config, lenet_images
from tests.models.conftest import abstract_variables, drawn_variables, forward


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("alexnet", "fc7", (4096,)),
        ("vgg16", "fc7", (4096,)),
        ("vgg16", "conv5_3", (14, 14, 512)),
        ("resnet50", "pool5", (2048,)),
        ("resnet50_v1_5", "conv4_6", (14, 14, 1024)),
        ("resnet50", "conv3_1/conv2", (28, 28, 128)),
        ("googlenet", "inception_4a/3x3", (14, 14, 208)),
        pytest.param("inception_v3", "Mixed_7c", (8, 8, 2048), marks=pytest.mark.slow),
    ],
)
def test_any_named_layer(name, layer, shape):
    size = {"alexnet": 227, "inception_v3": 299}.get(name, 224)
    model = create_model(name)
    output = jax.eval_shape(
        lambda variables, image: layer_output(model, variables, image, layer),
        abstract_variables(model, size),
        jax.ShapeDtypeStruct((2, size, size, 3), np.float32),
    )
    assert output.shape == (2, *shape)


@pytest.fixture
def network():
    model = create_model("lenet5")
    variables = drawn_variables(model, 32, 1)
    return Network(model, variables, tuple("0123456789"), {}, lenet_config(16))


def extract(layer, network, num_devices=1):
    mesh = make_mesh(num_devices, 1)
    return features.extract(layer, network, SOURCE, mesh, Screen(quiet=True))


@pytest.mark.parametrize("num_devices", [1, 8])
def test_features_of_a_split(network, tmp_path, num_devices):
    path = str(tmp_path / "f6.npz")
    arrays = extract("F6", network, num_devices)
    answer = features.write(path, arrays, network.class_names, Screen(quiet=True))
    assert answer == {"file": path, "features": [37, 84]}
    with np.load(path, allow_pickle=False) as written:
        np.testing.assert_array_equal(written["label"], SOURCE.labels)
        np.testing.assert_array_equal(written["index"], np.arange(37))
        assert tuple(written["class_names"]) == network.class_names
        # The last layer computes the logits from F6.
        images = lenet_images(network.config.data)
        logits = forward(network.model, network.variables, images)
        last = network.variables["params"]["output"]
        expected = written["features"] @ last["kernel"] + last["bias"]
        np.testing.assert_allclose(expected, logits, atol=1e-4)


def test_mistakes(network):
    with pytest.raises(UsageError, match="--features=fc6: no such layer; there are C1"):
        extract("fc6", network)


def test_too_little_memory_is_reported_before_the_work(network, monkeypatch):
    monkeypatch.setattr(ArraySource, "__len__", lambda self: 10**12)
    with pytest.raises(UsageError, match="GiB are free; choose a later layer"):
        extract("C1", network)
