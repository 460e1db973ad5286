"""Fingerprints equal Python integers, and every change of an array changes them."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from cnn_arch.checkpoints.fingerprint import (
    DamageError,
    fingerprints,
    leaves_by_name,
    make_record,
    read_record,
)


def _mix(word: int) -> int:
    word = ((word ^ (word >> 16)) * 0x85EBCA6B) % 2**32
    word = ((word ^ (word >> 13)) * 0xC2B2AE35) % 2**32
    return word ^ (word >> 16)


def _reference(array: np.ndarray) -> list[int]:
    width = min(array.dtype.itemsize, 4)
    words = np.frombuffer(array.tobytes(), f"<u{width}").tolist()
    mixed = [_mix(word ^ _mix(index)) for index, word in enumerate(words)]
    weighted = [word * (2 * index + 1) for index, word in enumerate(mixed)]
    return [sum(mixed) % 2**32, sum(weighted) % 2**32]


@pytest.mark.parametrize(
    "dtype", ["float32", "bfloat16", "float16", "int32", "uint32", "int8", "bool"]
)
@pytest.mark.parametrize("shape", [(), (7,), (3, 5, 2, 4)])
def test_equals_python_integers(dtype: str, shape: tuple[int, ...]):
    values = np.random.default_rng(0).normal(0, 50, shape)
    array = jnp.asarray(values).astype(dtype)
    assert fingerprints({"a": array})["a"] == _reference(np.asarray(array))


def test_same_for_every_sharding():
    array = np.random.default_rng(1).standard_normal((16, 24), np.float32)
    mesh = jax.make_mesh((4, 2), ("data", "model"))
    both = ("data", "model")
    for spec in [(), ("data",), (None, "model"), ("model", "data"), (both,)]:
        sharded = jax.device_put(array, NamedSharding(mesh, PartitionSpec(*spec)))
        assert fingerprints({"a": sharded})["a"] == _reference(array)


def test_every_flipped_bit_changes_both_sums():
    array = np.random.default_rng(2).standard_normal(6).astype(np.float32)
    first, second = fingerprints({"a": jnp.asarray(array)})["a"]
    for bit in range(array.nbytes * 8):
        flipped = bytearray(array.tobytes())
        flipped[bit // 8] ^= 1 << bit % 8
        changed = jnp.asarray(np.frombuffer(bytes(flipped), np.float32))
        found = fingerprints({"a": changed})["a"]
        assert found[0] != first and found[1] != second


def test_exchanged_elements_change_the_fingerprint():
    array = jnp.ones(1024).at[0].set(0.5)  # a power of two: sums alone may miss it
    moved = jnp.roll(array, 256)
    assert fingerprints({"a": array}) != fingerprints({"a": moved})


def test_more_than_one_chunk():
    array = np.arange(3 * 2**16 + 5, dtype=np.uint32)
    assert fingerprints({"a": jnp.asarray(array)})["a"] == _reference(array)


def test_leaves_have_dotted_names():
    tree = {"params": {"conv1": {"kernel": 1}}, "opt_state": ((2, {"a": 3}),)}
    assert leaves_by_name(tree) == {
        "params.conv1.kernel": 1,
        "opt_state.0.0": 2,
        "opt_state.0.1.a": 3,
    }


def test_record_round_trip_and_damage(tmp_path: Path):
    record = make_record({"params": jnp.ones((2, 3))}, epoch=1.5, validation_error=0.1)
    file = tmp_path / "record" / "data.json"
    with pytest.raises(DamageError, match=r"cannot be verified.*not readable"):
        read_record(tmp_path)

    file.parent.mkdir()
    file.write_text(json.dumps(record))
    content = read_record(tmp_path)
    assert content["types"] == {"params": "float32[2,3]"}
    assert (content["epoch"], content["validation_error"]) == (1.5, 0.1)

    text = json.dumps(record)
    file.write_text(text.replace("0.1", "0.2"))
    with pytest.raises(DamageError, match=r"cannot be verified.*damaged"):
        read_record(tmp_path)
    for broken in [text[:40], "[]", "{}", "3"]:
        file.write_text(broken)
        with pytest.raises(DamageError, match=r"cannot be verified.*not readable"):
            read_record(tmp_path)
