"""Fingerprints of the arrays in a checkpoint, to find damage to it.

A flipped bit in a file can change an array without an error from orbax. Each array has
a fingerprint from before the save; a comparison finds the change and names the array.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from cnn_arch.checkpoints.orbax_adapter import LiteralPath
from cnn_arch.errors import UsageError
from cnn_arch.files import read_json
from cnn_arch.parallel import processes

_CHUNK_WORDS = 2**16  # small enough for the processor's cache, with the results


class DamageError(Exception):
    """A checkpoint cannot be read or verified, or differs from what was saved."""


def leaves_by_name(tree: Any) -> dict[str, Any]:
    """Returns the leaves of a tree by dotted names such as ``params.conv1.kernel``."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


def describe(tree: Any) -> dict[str, str]:
    """Returns type and shape of each array, such as ``float32[3,3,64,128]``."""
    return {
        name: f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
        for name, leaf in leaves_by_name(tree).items()
    }


def fingerprints(tree: Any) -> dict[str, list[int]]:
    """Returns two numbers below 2**32 for the bits of each array.

    They are the same for every sharding. A change of one element changes both numbers.
    All processes must call this together.
    """
    arrays = leaves_by_name(tree)
    sums = np.array([_sums(array) for array in arrays.values()])  # [arrays, 2]
    if processes.count() > 1:
        sums = multihost_utils.process_allgather(sums).sum(axis=0, dtype=np.uint32)
    return dict(zip(arrays, sums.tolist(), strict=True))


def _sums(array: jax.Array) -> np.ndarray:
    """Returns this process's part of both sums, modulo 2**32: uint32 [2].

    Runs on the host: to compile it for each shape would take longer than to run it.
    """
    sums = np.zeros(2, np.uint32)
    for shard in array.addressable_shards:
        if shard.replica_id == 0:  # each part once, whatever its number of copies
            start = [axis.start or 0 for axis in shard.index]
            sums += _sums_of_part(np.asarray(shard.data), start, array.shape)
    return sums


def _sums_of_part(
    part: np.ndarray, start: list[int], shape: tuple[int, ...]
) -> np.ndarray:
    """Returns both sums over a part of an array of `shape`; it begins at `start`."""
    words = np.asarray(part, order="C")[..., None]
    words = words.view(f"u{min(part.itemsize, 4)}")  # 64 bits become two words
    shape = (*shape, words.shape[-1])
    sums = np.zeros(2, np.uint32)
    for begin in range(0, words.size, _CHUNK_WORDS):
        chunk = words.reshape(-1)[begin : begin + _CHUNK_WORDS].astype(np.uint32)
        index = np.arange(begin, begin + chunk.size)
        if words.shape != shape:
            axes = np.unravel_index(index, words.shape)
            shifted = map(np.add, axes, [*start, 0])
            index = np.ravel_multi_index(tuple(shifted), shape)
        index = index.astype(np.uint32)
        mixed = _mix(chunk ^ _mix(index))
        weighted = mixed * (2 * index + 1)  # odd factors are one to one
        sums += np.array([mixed.sum(), weighted.sum()]).astype(np.uint32)
    return sums


def _mix(words: np.ndarray) -> np.ndarray:
    """Mixes the bits of each word, one to one (MurmurHash3's 32-bit finalizer)."""
    words = (words ^ (words >> 16)) * np.uint32(0x85EBCA6B)
    words = (words ^ (words >> 13)) * np.uint32(0xC2B2AE35)
    return words ^ (words >> 16)


def make_record(tree: Any, **facts: Any) -> dict[str, Any]:
    """Returns the facts and every array's type, shape and fingerprint, as JSON values.

    A checksum distinguishes damage to the record from damage to the arrays.
    """
    content = facts | {"types": describe(tree), "fingerprints": fingerprints(tree)}
    return {"content": content, "checksum": _checksum(content)}


def read_record(path: Path) -> dict[str, Any]:
    """Returns the content of the record in the folder of a checkpoint.

    Raises:
      DamageError: the record is missing or damaged.
    """
    try:
        record = read_json(path / "record" / "data.json")
        content = record["content"]
        intact = record["checksum"] == _checksum(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamageError("cannot be verified, its record is not readable") from error
    if not intact:
        raise DamageError("cannot be verified, its record is damaged")
    return content


def _checksum(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def load_verified(path: Path, abstract_items: dict[str, Any]) -> dict[str, Any]:
    """Loads items from the folder of a step, and compares them with its record.

    Each abstract item is a tree of jax.ShapeDtypeStruct with shardings. All processes
    must call this together; all fail if one does.

    Raises:
      DamageError: a file cannot be read, or the named array is not what was saved.
      UsageError: the folder has other arrays than the abstract items.
    """
    items, damage = {}, None
    try:
        items = load_items(path, abstract_items)
    except DamageError as error:
        damage = error
    if any(processes.gather(damage is not None)):
        raise damage or DamageError("cannot be read by another process")
    verify(path, items)
    return items


def load_items(path: Path, abstract_items: dict[str, Any]) -> dict[str, Any]:
    """Loads items from the folder of a step, but does not `verify` them.

    Each abstract item is a tree of jax.ShapeDtypeStruct with shardings.

    Raises:
      DamageError: a file in the folder cannot be read.
      UsageError: the folder has other arrays than the abstract items.
    """
    expected = describe(abstract_items)
    stored = {
        name: described
        for name, described in read_record(path)["types"].items()
        if name.partition(".")[0] in abstract_items
    }
    for name in sorted(expected.keys() | stored.keys()):
        there, here = stored.get(name, "missing"), expected.get(name, "missing")
        if there != here:
            raise UsageError(
                f"{path}: {name} is {there} in the checkpoint and {here} in the "
                "network; use the config that it was saved with"
            )
    items = dict(abstract_items)
    for item, abstract_tree in without_empty(abstract_items).items():
        try:
            items |= ocp.load_checkpointables(LiteralPath(path), {item: abstract_tree})
        except Exception as error:  # whatever orbax's libraries raise
            leaf = _find_leaf(error)
            name = f"{item}.{leaf}" if leaf else item
            raise DamageError(f"{name}: cannot be read") from error
    return items


def verify(path: Path, items: dict[str, Any]) -> None:
    """Compares items with the record in the folder that they were loaded from.

    Raises:
      DamageError: the named array is not what was saved.
    """
    recorded = read_record(path)["fingerprints"]
    for name, found in fingerprints(items).items():
        if found != recorded[name]:
            raise DamageError(f"{name}: is not what was saved (fingerprint differs)")


def without_empty(items: dict[str, Any]) -> dict[str, Any]:
    """Returns the items that have arrays; orbax refuses empty ones."""
    return {name: tree for name, tree in items.items() if jax.tree.leaves(tree)}


def _find_leaf(error: BaseException | None) -> str | None:
    """Returns the name of an array from tensorstore's error among the causes."""
    while error is not None:
        found = re.search(r'"([^"/]+)/(?:c/|zarr\.json)', str(error))
        if found:
            return found[1]
        error = error.__cause__
    return None
