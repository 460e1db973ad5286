"""Files of weights: whole, damaged, and of another network."""

import importlib.util
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from cnn_arch.errors import UsageError
from cnn_arch.models import create_model
from cnn_arch.weights import files
from tests.models.conftest import drawn_variables

HAS_TORCH = importlib.util.find_spec("torch") is not None


@pytest.fixture(scope="module")
def resnet18():
    return jax.device_get(drawn_variables(create_model("resnet18", 7), 32))


@pytest.fixture(scope="module")
def resnet20():
    return jax.device_get(drawn_variables(create_model("resnet20"), 32))


def assert_equal(variables, expected):
    assert jax.tree.structure(variables) == jax.tree.structure(expected)
    for array, other in zip(
        jax.tree.leaves(variables), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_array_equal(array, other)


def test_npz(resnet20, tmp_path):
    path = tmp_path / "weights.npz"
    files.write_npz(path, resnet20)
    weights = files.read_weights(str(path), "resnet20")
    assert_equal(weights.variables, resnet20)
    assert weights.mean is None
    assert list(tmp_path.iterdir()) == [path]


def test_safetensors_remember_the_normalisation(resnet18, tmp_path):
    path = tmp_path / "weights.safetensors"
    files.write_safetensors(path, "resnet18", resnet18, (1.0, 2.0, 3.0), (4.0,) * 3)
    weights = files.read_weights(str(path), "resnet18")
    assert_equal(weights.variables, resnet18)
    assert (weights.mean, weights.std) == ((1.0, 2.0, 3.0), (4.0, 4.0, 4.0))


def test_torchvisions_normalisation_where_the_file_says_nothing(resnet18, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(files.to_torchvision("resnet18", resnet18), path)
    weights = files.read_weights(str(path), "resnet18")
    assert weights.mean == (123.675, 116.28, 103.53)  # 255 x 0.485, 0.456, 0.406


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_damaged_file(resnet18, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".npz":
        files.write_npz(path, resnet18)
    else:
        files.write_safetensors(path, "resnet18", resnet18, (0.0,) * 3, (1.0,) * 3)
    whole = path.read_bytes()
    for damaged in (whole[:100], whole[:-100], b"", b"x" + whole[1:]):
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match=rf"^--weights={path}: not a "):
            files.read_weights(str(path), "resnet18")


def test_compressed_arrays_are_refused(tmp_path):
    path = tmp_path / "bomb.npz"
    arrays: Any = {"params/fc/kernel": np.zeros((1000, 1000))}
    np.savez_compressed(path, **arrays)
    with pytest.raises(UsageError, match="it is compressed"):
        files.read_weights(str(path), "resnet18")


def test_pickled_arrays_are_refused(tmp_path):
    path = tmp_path / "objects.npz"
    arrays: Any = {"params/fc/kernel": np.array([{}], object)}
    np.savez(path, **arrays)
    with pytest.raises(UsageError, match="allow_pickle=False"):
        files.read_weights(str(path), "resnet18")


def test_other_mistakes(resnet18, tmp_path):
    for name, rule in (("x.bin", "must end in .npz, "), ("x.npz", "no such file")):
        with pytest.raises(UsageError, match=f"{name}: {rule}"):
            files.read_weights(str(tmp_path / name), "resnet18")
    path = tmp_path / "other.npz"
    np.savez(path, weights=np.zeros(3))
    with pytest.raises(UsageError, match="holds weights, which is neither params/"):
        files.read_weights(str(path), "resnet18")
    path = tmp_path / "x.safetensors"
    notes = {"mean": "[1, null]"}
    save_file(files.to_torchvision("resnet18", resnet18), path, metadata=notes)
    with pytest.raises(UsageError, match=r"its mean is '\[1, null\]', not a list"):
        files.read_weights(str(path), "resnet18")
    with pytest.raises(
        UsageError, match="resnet50_v1_5 here; take configs/resnet50_v1"
    ):
        files.read_weights(str(path), "resnet50")


@pytest.mark.skipif(HAS_TORCH, reason="PyTorch is installed")
def test_pth_without_pytorch(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"")
    with pytest.raises(UsageError, match="needs PyTorch, which is not installed; pip"):
        files.read_weights(str(path), "resnet18")


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed")
def test_pth(resnet18, tmp_path):
    import torch  # pyright: ignore[reportMissingImports]

    path = tmp_path / "weights.pth"
    arrays = files.to_torchvision("resnet18", resnet18)
    torch.save({key: torch.from_numpy(arrays[key]) for key in arrays}, path)
    assert_equal(files.read_weights(str(path), "resnet18").variables, resnet18)
    torch.save({"model": arrays}, path)
    with pytest.raises(UsageError, match="not a "):
        files.read_weights(str(path), "resnet18")


def test_check_fit(resnet18):
    shapes = drawn_variables(create_model("resnet18", 9), 32)
    with pytest.raises(UsageError) as caught:
        files.check_fit(resnet18, shapes)
    assert str(caught.value) == (
        "fc/bias: (7,) in the file, (9,) in the model; "
        "fc/kernel: (512, 7) in the file, (512, 9) in the model"
    )
    files.check_fit(resnet18, resnet18)
