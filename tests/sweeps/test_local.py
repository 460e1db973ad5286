"""How the trials on this machine share its GPUs."""

import pytest

from cnn_arch.errors import UsageError
from cnn_arch.sweeps import manifest
from cnn_arch.sweeps.local import Local


def make(tmp_path, max_parallel):
    sweep = manifest.open_or_make(tmp_path, ["--config=x.py"], [{"seed": 0}], {}, 1)
    sweep.max_parallel = max_parallel
    return Local(sweep)


@pytest.mark.parametrize(
    ("visible", "max_parallel", "expected"),
    [
        ("0,1,2,3", None, ["0", "1", "2", "3"]),
        ("0,1,2,3", 2, ["0,1", "2,3"]),
        ("0,1,2,3", 1, ["0,1,2,3"]),
        ("4,6,7", 2, ["4", "6"]),
        ("GPU-8c3f", None, ["GPU-8c3f"]),
        ("", None, [""]),
        ("-1", 3, ["", "", ""]),
    ],
)
def test_gpus_are_shared_out(visible, max_parallel, expected, tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    local = make(tmp_path, max_parallel)
    assert local.max_parallel == len(expected)
    assert [local.gpus(slot) for slot in range(len(expected))] == expected


def test_no_gpus_are_shared_out_if_jax_may_not_use_them(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert make(tmp_path, None).max_parallel == 1


@pytest.mark.parametrize(
    ("max_parallel", "message"), [(3, ".*there are 2"), (0, "must be at least 1")]
)
def test_max_parallel_that_is_refused(max_parallel, message, tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(UsageError, match=f"--max_parallel={max_parallel}: {message}"):
        make(tmp_path, max_parallel)
