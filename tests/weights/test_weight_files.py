"""Files of weights: whole, damaged, and of another network."""

import importlib.util

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
    jax.tree.map(np.testing.assert_array_equal, variables, expected)


def check_refusal(path, message, name="resnet18"):
    with pytest.raises(UsageError, match=f"^--weights={path}: {message}"):
        files.read_weights(str(path), name)


def test_npz(resnet20, tmp_path):
    path = tmp_path / "weights.npz"
    files.write_npz(path, resnet20)
    weights = files.read_weights(str(path), "resnet20")
    assert_equal(weights.variables, resnet20)
    assert weights.mean is None
    assert list(tmp_path.iterdir()) == [path]


def test_safetensors_keep_the_normalisation(resnet18, tmp_path):
    path = tmp_path / "weights.safetensors"
    files.write_safetensors(path, "resnet18", resnet18, (1.0, 2.0, 3.0), (4.0,) * 3)
    weights = files.read_weights(str(path), "resnet18")
    assert_equal(weights.variables, resnet18)
    assert (weights.mean, weights.std) == ((1.0, 2.0, 3.0), (4.0, 4.0, 4.0))


def test_safetensors_without_normalisation_get_torchvisions(resnet18, tmp_path):
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
        check_refusal(path, "not a ")


@pytest.mark.parametrize(
    ("save", "key", "array", "message"),
    [
        (np.savez_compressed, "params/a", np.zeros(10**6), ".*it is compressed"),
        (np.savez, "params/a", np.array([{}], object), ".*allow_pickle=False"),
        (np.savez, "weights", np.zeros(3), "weights is neither in params/ nor in "),
    ],
)
def test_archives_that_are_refused(tmp_path, save, key, array, message):
    path = tmp_path / "weights.npz"
    save(path, **{key: array})
    check_refusal(path, message)


def test_other_mistakes(resnet18, tmp_path):
    check_refusal(tmp_path / "x.bin", "must end in .npz, ")
    check_refusal(tmp_path / "x.npz", "no such file")
    path = tmp_path / "x.safetensors"
    notes = {"mean": "[1, null]"}
    save_file(files.to_torchvision("resnet18", resnet18), path, metadata=notes)
    check_refusal(path, r"its mean is '\[1, null\]', not a list")
    check_refusal(path, ".* resnet50_v1_5 here; use configs/resnet50_v1", "resnet50")


@pytest.mark.skipif(HAS_TORCH, reason="PyTorch is installed")
def test_pth_without_pytorch(tmp_path):
    path = tmp_path / "weights.pth"
    path.touch()
    check_refusal(path, ".*needs PyTorch, which is not installed; pip")


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed")
def test_pth(resnet18, tmp_path):
    import torch  # pyright: ignore[reportMissingImports]

    path = tmp_path / "weights.pth"
    arrays = files.to_torchvision("resnet18", resnet18)
    torch.save({key: torch.from_numpy(arrays[key]) for key in arrays}, path)
    assert_equal(files.read_weights(str(path), "resnet18").variables, resnet18)
    torch.save({"model": arrays}, path)
    check_refusal(path, "not a ")


def test_check_fit(resnet18):
    shapes = drawn_variables(create_model("resnet18", 9), 32)
    with pytest.raises(UsageError) as caught:
        files.check_fit(resnet18, shapes)
    assert str(caught.value) == (
        "fc/bias: (7,) in the file, (9,) in the model; "
        "fc/kernel: (512, 7) in the file, (512, 9) in the model"
    )
    files.check_fit(resnet18, resnet18)
