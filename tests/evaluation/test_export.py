"""Exported networks, loaded again by the programs that use the formats."""

from functools import cache

import jax
import numpy as np
import pytest

from cnn_arch import choices, settings
from cnn_arch.errors import UsageError
from cnn_arch.evaluation.export import export
from cnn_arch.evaluation.network import Network
from cnn_arch.models import create_model
from cnn_arch.screen import Screen
from tests.models.conftest import drawn_variables, mark_slow

# Together they have all kinds of pools, branches, LRN, BatchNorm and shortcuts.
NETWORKS = {"lenet5": (32, 1), "alexnet": (67, 3), "nin_cifar": (32, 3)}
NETWORKS |= {"googlenet": (32, 3), "resnet20": (32, 3)}


@cache
def make(name):
    """Returns a network, images, and a function that computes its logits."""
    image_size, channels = NETWORKS[name]
    config, _ = settings.parse([f"--config=configs/{name}.py"])
    sized = {"data.image_size": image_size}
    config = settings.derive(config, sized | choices.placeholders(config))
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


def check_logits(call, name, tolerance):
    _, images, logits = make(name)
    for count in (1, 5):  # the file takes any number of images
        expected = logits(images[:count])
        atol = tolerance * np.abs(expected).max()
        np.testing.assert_allclose(call(images[:count]), expected, atol=atol)


@pytest.mark.parametrize(
    "name", mark_slow(["lenet5", "alexnet", "resnet20"], ["lenet5"])
)
def test_stablehlo_takes_any_number_of_images(name, tmp_path):
    path = tmp_path / "model.stablehlo"
    answer = export(str(path), make(name)[0], Screen(quiet=True))
    assert answer["file"] == str(path)
    exported = jax.export.deserialize(bytearray(path.read_bytes()))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    check_logits(exported.call, name, tolerance=1e-5)


@pytest.mark.parametrize("name", mark_slow(NETWORKS, ["nin_cifar"]))
def test_onnx_runtime_agrees(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    answer = export(str(path), make(name)[0], Screen(quiet=True))
    assert "agrees within" in answer["what"]
    assert list(tmp_path.iterdir()) == [path]  # also with large arrays
    session = onnxruntime.InferenceSession(path)
    call = lambda images: session.run(["logits"], {"image": images})[0]  # noqa: E731
    check_logits(call, name, tolerance=1e-4)


def test_a_refused_export_writes_no_file(tmp_path):
    path, rule = tmp_path / "x.safetensors", "lenet5: torchvision has no such network"
    with pytest.raises(UsageError, match=f"^--export={path}: {rule}"):
        export(str(path), make("lenet5")[0], Screen(quiet=True))
    assert not list(tmp_path.iterdir())
