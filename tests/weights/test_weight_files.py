"""Files of weights: whole, damaged, and of another network."""

import json
import warnings
import zipfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.flax import save_file as flax_save
from safetensors.numpy import save_file

from cnn_arch.errors import UsageError
from cnn_arch.models import create_model
from cnn_arch.weights import files, pth
from tests.models.conftest import drawn_variables
from tests.weights import torch_files


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
        (np.savez, "weights", np.zeros(3), "neither in params/ nor .*: weights"),
        (np.savez, "params/a", np.array(["x"]), "params/a is of type str"),
        (np.savez, "params/a", np.ones(3, complex), "params/a is of type complex128"),
        (
            np.savez,
            "params/a",
            np.array([1e39]),
            "params/a has values that",
        ),
        (np.savez, "params/a", np.array([np.nan]), "params/a has values that"),
    ],
)
def test_archives_that_are_refused(tmp_path, save, key, array, message):
    path = tmp_path / "weights.npz"
    save(path, **{key: array})
    check_refusal(path, message)


def test_an_archive_that_is_no_tree(tmp_path):
    path = tmp_path / "weights.npz"
    arrays: Any = dict.fromkeys(("params/a", "params/a/b"), np.zeros(3, np.float32))
    np.savez(path, **arrays)
    check_refusal(path, "an array and a folder at once: params/a$")
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("params/a.npy", archive.read("params/a.npy"))
    check_refusal(path, "more than once in the file: params/a$")


def test_an_archive_of_many_foreign_arrays(tmp_path):
    path = tmp_path / "weights.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(30_000):
            archive.writestr(f"layer{i}.npy", b"")
    check_refusal(path, "neither .*: layer0, layer1, layer2 and 29,997 more$")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("std", "[0, 0, 0]"),
        ("std", "[1, 1, -1]"),
        ("mean", "[1, null, 1]"),
        ("mean", "[1, 2]"),
        ("mean", str([1.0] * 2_000_000)),
        ("mean", "[" * 100_000),
        ("mean", '{"1": 1, "2": 2, "3": 3}'),
        ("mean", f"[1, 2, 1{'0' * 400}]"),
        ("mean", "[1, 2, NaN]"),
    ],
)
def test_a_normalisation_that_cannot_be_used(resnet18, tmp_path, key, value):
    path = tmp_path / "weights.safetensors"
    save_file(files.to_torchvision("resnet18", resnet18), path, metadata={key: value})
    with pytest.raises(UsageError, match=f"its {key} is .*: must be 3 num") as caught:
        files.read_weights(str(path), "resnet18")
    assert len(str(caught.value).removeprefix(f"--weights={path}")) < 120


def test_safetensors_of_other_types(resnet18, tmp_path):
    path = tmp_path / "weights.safetensors"
    arrays = files.to_torchvision("resnet18", resnet18)
    halves = {
        key: jnp.asarray(x.astype(jnp.bfloat16) if x.ndim else x)
        for key, x in arrays.items()
    }
    flax_save(halves, path)
    read = files.read_weights(str(path), "resnet18").variables["params"]["fc"]["bias"]
    expected = np.asarray(halves["fc.bias"], np.float32)
    np.testing.assert_array_equal(read, expected)
    header = {"fc": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}
    write_header(path, json.dumps(header))
    check_refusal(path, r"of a type that is not read: fc \(F8_E4M3\)$")
    write_header(path, '{"__metadata__": ' + '{"a": ' * 5000 + "1" + "}" * 5001)
    check_refusal(path, "not a whole safetensors file")


def write_header(path, text):
    header = text.encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))


def test_other_mistakes(resnet18, tmp_path):
    check_refusal(tmp_path / "x.bin", "must end in .npz, ")
    check_refusal(tmp_path / "x.npz", "no such file")
    path = tmp_path / "x.safetensors"
    save_file(files.to_torchvision("resnet18", resnet18), path)
    check_refusal(path, ".* resnet50_v1_5 here; use configs/resnet50_v1", "resnet50")


@pytest.mark.parametrize("save", [torch_files.save, torch_files.save_stream])
@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
def test_pth(resnet18, tmp_path, save, dtype):
    """Both formats of PyTorch, here without PyTorch; and nn.Parameter."""
    arrays = files.to_torchvision("resnet18", resnet18)
    for name, array in arrays.items():
        if array.dtype == np.float32:
            arrays[name] = array.astype(dtype)
    path = tmp_path / "weights.pth"
    state = torch_files.state_dict(arrays, parameter=dtype == jnp.bfloat16)
    save(path, state, arrays)
    read = files.read_weights(str(path), "resnet18").variables
    expected = jax.tree.map(lambda x: x.astype(dtype).astype(np.float32), resnet18)
    assert_equal(read, expected)


def call(module, name, *given):
    return torch_files.Call(torch_files.Name(module, name), given)


WHOLE = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_a_tensor_that_is_a_part_of_its_storage(tmp_path):
    part = torch_files.tensor("0", WHOLE, offset=1, size=(2, 2), stride=(1, 3))
    torch_files.save(tmp_path / "a.pth", {"a": part}, {"a": WHOLE})
    read = pth.read_pth(str(tmp_path / "a.pth"))
    np.testing.assert_array_equal(read["a"], WHOLE.T[1:])


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (call("posix", "system", "true"), "it contains posix.system"),
        (call("builtins", "eval", "1"), "it contains builtins.eval"),
        (call("torchvision.models", "ResNet"), "it contains torchvision.mo"),
        ({"epoch": 3, "a": torch_files.tensor("0", WHOLE)}, "not a dict from names to"),
        ([torch_files.tensor("0", WHOLE)], "not a dict from names to tensors"),
        ({"a": torch_files.tensor("0", WHOLE, size=(2, 4))}, "larger than its storage"),
        ({"a": torch_files.tensor("0", WHOLE, offset=1)}, "larger than its storage"),
        ({"a": torch_files.tensor("0", WHOLE, offset=-1)}, "larger than its storage"),
        ({"a": torch_files.tensor("0", WHOLE, size=(9**9,), stride=(0,))}, "larger"),
    ],
)
def test_pth_files_that_are_refused(tmp_path, state, message):
    path = tmp_path / "weights.pth"
    for save in (torch_files.save, torch_files.save_stream):
        save(path, state, {"a": WHOLE})
        check_refusal(path, f".*{message}")


def test_damaged_pth_files_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    arrays = {"a": np.arange(6, dtype=np.float32)}
    for save in (torch_files.save, torch_files.save_stream):
        save(path, torch_files.state_dict(arrays), arrays)
        whole = path.read_bytes()
        for end in range(0, len(whole), 7):
            path.write_bytes(whole[:end])
            check_refusal(path, "not a complete PyTorch file")
    # Python would make a table of 2^32 places.
    pickled = b"\x80\x02}r\xff\xff\xff\xff."
    path.write_bytes(pickled)
    check_refusal(path, "not a complete PyTorch file.*it remembers 4,294,967,295")


def test_check_fit(resnet18):
    shapes = drawn_variables(create_model("resnet18", 9), 32)
    with pytest.raises(UsageError) as caught:
        files.check_fit(resnet18, shapes)
    assert str(caught.value) == (
        "of another shape: fc/bias (7,) instead of (9,), "
        "fc/kernel (512, 7) instead of (512, 9)"
    )
    files.check_fit(resnet18, resnet18)
    foreign = {f"layer{i:05}": np.zeros(()) for i in range(30_000)}
    with pytest.raises(UsageError) as caught:
        files.check_fit(resnet18, {"params": foreign})
    assert str(caught.value).startswith(
        "missing: layer00000, layer00001, layer00002 and 29,997 more; left over: "
    )
    assert len(str(caught.value)) < 300
