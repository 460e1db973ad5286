"""Exported networks, loaded again by what they are exported for."""

from functools import cache

import jax
import numpy as np
import pytest

from cnn_arch import settings
from cnn_arch.errors import UsageError
from cnn_arch.evaluation.export import export
from cnn_arch.evaluation.network import Network
from cnn_arch.models import create_model
from cnn_arch.screen import Screen
from tests.models.conftest import drawn_variables

# With pools of every kind, several branches, LRN, BatchNorm, shortcuts.
NETWORKS = {"lenet5": (32, 1), "alexnet": (67, 3), "nin_cifar": (32, 3)}
NETWORKS |= {"googlenet": (32, 3), "resnet20": (32, 3)}


@cache
def make(name):
    """Returns a network, images, and its own logits of them."""
    image_size, channels = NETWORKS[name]
    config, _ = settings.parse([f"--config=configs/{name}.py"])
    config = settings.derive(config, {"data.image_size": image_size})
    heads = {"aux_heads": False} if name == "googlenet" else {}
    model = create_model(name, 10, **heads)
    variables = drawn_variables(model, image_size, channels)
    network = Network(model, variables, (), {}, config)

    @jax.jit
    def logits(images):
        normed = (images - np.float32(config.data.mean)) / np.float32(config.data.std)
        return model.apply(variables, normed, train=False)

    shape = (5, image_size, image_size, channels)
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    return network, images, logits


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "resnet20"])
def test_stablehlo_takes_any_number_of_images(name, tmp_path):
    network, images, logits = make(name)
    path = tmp_path / "model.stablehlo"
    answer = export(str(path), network, Screen(quiet=True))
    assert answer["file"] == str(path)
    exported = jax.export.deserialize(bytearray(path.read_bytes()))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    for count in (1, 5):
        expected = logits(images[:count])
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            exported.call(images[:count]), expected, atol=1e-5 * scale
        )


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_agrees(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    network, images, logits = make(name)
    path = tmp_path / "model.onnx"
    answer = export(str(path), network, Screen(quiet=True))
    assert "agrees within" in answer["what"]
    session = onnxruntime.InferenceSession(path)
    for count in (1, 5):
        expected = logits(images[:count])
        scale = np.abs(expected).max()
        given = session.run(["logits"], {"image": images[:count]})[0]
        np.testing.assert_allclose(given, expected, atol=1e-4 * scale)


def test_mistakes_leave_nothing(tmp_path):
    network, _, _ = make("lenet5")
    for name, rule in (
        ("x.pb", "must end in .stablehlo, .onnx"),
        ("x.safetensors", "lenet5: torchvision has no such network"),
    ):
        with pytest.raises(UsageError, match=f"^--export={tmp_path / name}: {rule}"):
            export(str(tmp_path / name), network, Screen(quiet=True))
    assert not list(tmp_path.iterdir())
