"""The deviation of each 3x3 layer's response, against NumPy on captured outputs."""

import jax
import numpy as np
import pytest

from cnn_arch import settings
from cnn_arch.data.bundled import ArraySource
from cnn_arch.errors import UsageError
from cnn_arch.evaluation import responses
from cnn_arch.evaluation.network import Network
from cnn_arch.models import create_model
from cnn_arch.models.resnet import CifarResNet
from cnn_arch.parallel.mesh import make_mesh
from cnn_arch.screen import Screen
from tests.models.conftest import drawn_variables

NOISE = np.random.default_rng(0)
LABELS = np.zeros(21, np.int32)  # no multiple of a batch
SOURCE = ArraySource(
    NOISE.integers(0, 256, (21, 32, 32, 3)).astype(np.uint8), LABELS, [""] * 21
)


def make_network(model, batch_size):
    words = "--config=resnet20:cifar10", "--config.data.normalisation=channels"
    config, _ = settings.parse([*words, f"--config.batch_size={batch_size}"])
    variables = drawn_variables(model, 32)
    generator = np.random.default_rng(1)

    def scatter(path, leaf):  # so that layers and channels differ
        if leaf.ndim > 1:
            return leaf
        return leaf + generator.uniform(0, 0.5, leaf.shape).astype(np.float32)

    variables = jax.tree_util.tree_map_with_path(scatter, variables)
    return Network(model, variables, (), {}, config)


def by_numpy(network, names):
    """Returns the deviations of the outputs of these modules."""
    data = network.config.data
    image = (SOURCE.images - np.float32(data.mean)) / np.float32(data.std)

    @jax.jit
    def capture(image):
        kept = {"capture_intermediates": True, "mutable": ["intermediates"]}
        answer = network.model.apply(network.variables, image, train=False, **kept)
        return answer[1]["intermediates"]

    captured = capture(image)
    found = {}
    for name in names:
        outputs = captured
        for part in name.split("/"):
            outputs = outputs[part]
        found[name] = np.asarray(outputs["__call__"][0], np.float64).std()
    return found


@pytest.mark.parametrize(
    ("depth", "batch_norm", "num_devices", "batch_size"),
    [
        (8, False, 1, 32),
        pytest.param(20, True, 1, 5, marks=pytest.mark.slow),
        (20, True, 4, 8),
    ],
)
def test_against_numpy(depth, batch_norm, num_devices, batch_size):
    network = make_network(CifarResNet(depth, batch_norm=batch_norm), batch_size)
    mesh = make_mesh(num_devices, 1)
    found = responses.deviations(network, SOURCE, mesh, Screen(quiet=True))
    blocks = [f"conv{i}_{j + 1}" for i in (2, 3, 4) for j in range((depth - 2) // 6)]
    layers = ["conv1", *(f"{block}/conv{i}" for block in blocks for i in (1, 2))]
    assert list(found) == layers
    layer, norm = ("conv", "bn") if batch_norm else ("conv", "conv")
    modules = [norm.join(name.rsplit(layer, 1)) for name in layers]
    expected = by_numpy(network, modules)
    np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-5)


def test_only_3x3_layers_are_measured():
    model = create_model("resnet50", 10)
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
    names = []

    def note(variables, image):
        names.extend(responses.responses(model, variables, image))

    jax.eval_shape(note, drawn_variables(model, 64), image)
    assert len(names) == 16 and {name[-6:] for name in names} == {"/conv2"}


@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [("vgg11", 32, "conv1_1: its activation is part"), ("lenet5", 32, "no 3x3 conv")],
)
def test_a_network_that_cannot_be_measured_is_named(name, size, reason):
    model, channels = create_model(name, 10), 1 if name == "lenet5" else 3
    image = jax.ShapeDtypeStruct((1, size, size, channels), np.float32)
    with pytest.raises(UsageError, match=reason):
        jax.eval_shape(
            lambda variables, image: responses.responses(model, variables, image),
            drawn_variables(model, size, channels),
            image,
        )


def test_some_images_are_evenly_spaced():
    assert responses.spaced(10, 3).tolist() == [0, 4, 8]
    assert len(responses.spaced(10_000, 1_000)) == 1_000
    assert len(responses.spaced(372, 1_000)) == len(responses.spaced(372, None)) == 372


def test_the_summary():
    assert responses.summarise({"a": 1.0, "b": 2.0, "c": 6.0}) == {
        "mean_deviation": 3.0,
        "median_deviation": 2.0,
        "largest_deviation": 6.0,
    }
