"""Files of weights: read whole or not at all, never executed."""

import dataclasses
import json
import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cnn_arch.errors import UsageError
from cnn_arch.files import replacing
from cnn_arch.weights.torchvision import (
    TORCHVISION,
    from_torchvision,
    to_torchvision,
)

SUFFIXES = (".npz", ".safetensors", ".pth", ".pt")
COLLECTIONS = ("params", "batch_stats")


@dataclasses.dataclass(frozen=True)
class Weights:
    """What a file holds.

    Attributes:
      variables: ``{"params": ..., "batch_stats": ...}``, arrays of NumPy.
      mean: that the network expects to be subtracted from images of 0..255; None where
        the file does not say.
      std: that it expects to be divided by.
    """

    variables: dict[str, Any]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def read_weights(path: str, name: str) -> Weights:
    """Reads the weights of a network.

    Args:
      path: ``.npz`` as ``write_npz`` makes it; torchvision's ``state_dict`` as
        ``.safetensors``, or as ``.pth`` where PyTorch is installed.
      name: of the network.

    Raises:
      UsageError: no such file, not of these kinds, damaged, or of another network.
    """
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise UsageError(f"--weights={path}: must end in {', '.join(SUFFIXES)}")
    if not os.path.isfile(path):
        raise UsageError(f"--weights={path}: no such file")
    try:
        if suffix == ".npz":
            return Weights(read_npz(path))
        if suffix == ".safetensors":
            arrays, notes = read_safetensors(path)
        else:
            arrays, notes = read_pth(path), {}
        variables, default = from_torchvision(name, arrays), TORCHVISION[name]
        mean = _numbers(notes, "mean") or default.mean
        return Weights(variables, mean, _numbers(notes, "std") or default.std)
    except UsageError as error:
        raise UsageError(f"--weights={path}: {error}") from None


def _numbers(notes: Mapping[str, str], key: str) -> tuple[float, ...] | None:
    """Reads a list of numbers out of a file's metadata, if it is there."""
    if key not in notes:
        return None
    try:
        numbers = tuple(float(number) for number in json.loads(notes[key]))
    except (ValueError, TypeError):
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)):
        raise UsageError(f"its {key} is {notes[key]!r}, not a list of numbers")
    return numbers


def write_npz(path: Path, variables: Mapping[str, Any]) -> None:
    """Writes ``{"params": ..., "batch_stats": ...}`` so that numpy alone reads them.

    The keys are the layers' paths: ``params/conv1/kernel``.
    """
    tree = {key: variables[key] for key in COLLECTIONS}
    arrays = {
        "/".join(key.key for key in keys): np.asarray(leaf)
        for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    with replacing(path) as draft:
        np.savez(draft, allow_pickle=False, **arrays)


def read_npz(path: str) -> dict[str, Any]:
    """Reads what ``write_npz`` wrote.

    Raises:
      UsageError: the file is damaged, or not such a one.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # stored: no larger than the file
            stored = all(
                info.compress_type == zipfile.ZIP_STORED for info in archive.infolist()
            )
        if not stored:
            raise ValueError("it is compressed")
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except Exception as error:  # zip's and NumPy's own, by where it is broken
        reason = str(error) or type(error).__name__
        raise UsageError(f"not a whole .npz file ({reason})") from None
    variables: dict[str, Any] = {collection: {} for collection in COLLECTIONS}
    for key, array in arrays.items():
        *parents, last = key.split("/")
        if not parents or parents[0] not in COLLECTIONS:
            raise UsageError(f"holds {key}, which is neither params/ nor batch_stats/")
        tree = variables
        for part in parents:
            tree = tree.setdefault(part, {})
        tree[last] = array
    return variables


def write_safetensors(
    path: Path,
    name: str,
    variables: Mapping[str, Any],
    mean: Sequence[float],
    std: Sequence[float],
) -> None:
    """Writes torchvision's ``state_dict``, with the normalisation as metadata.

    Raises:
      UsageError: torchvision has no such network.
    """
    from safetensors.numpy import save_file

    notes = {"mean": json.dumps(list(mean)), "std": json.dumps(list(std))}
    save_file(to_torchvision(name, variables), path, metadata=notes)


def read_safetensors(path: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads arrays by their names, and the file's metadata.

    Raises:
      UsageError: the file is damaged, or holds a type that NumPy lacks.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {key: file.get_tensor(key) for key in file.keys()}
            return arrays, file.metadata() or {}
    except (SafetensorError, TypeError, ValueError, KeyError) as error:
        raise UsageError(f"not a safetensors file of float32 ({error})") from None


def read_pth(path: str) -> dict[str, np.ndarray]:
    """Reads a PyTorch file of tensors alone; anything else in it is refused.

    Raises:
      UsageError: PyTorch is not installed, or the file is not such a one.
    """
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UsageError(
            "reading .pth needs PyTorch, which is not installed; pip install torch, "
            "or save the state_dict as .safetensors"
        ) from None
    try:
        state_dict = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # of many kinds: zip's, pickle's, PyTorch's own
        raise UsageError(
            "not a whole PyTorch file of tensors alone; torch.save(model.state_dict(), "
            "FILE) makes one"
        ) from None
    if not isinstance(state_dict, Mapping) or not all(
        isinstance(value, torch.Tensor) for value in state_dict.values()
    ):
        raise UsageError("not a state_dict: a dict of tensors by their names")
    return {key: value.numpy() for key, value in state_dict.items()}


def check_fit(variables: Any, shapes: Any) -> None:
    """Checks that arrays are those of a model.

    Args:
      variables: ``{"params": ..., "batch_stats": ...}`` from a file.
      shapes: the same of the model.

    Raises:
      UsageError: they are not; the message names arrays and both shapes.
    """

    def by_path(tree: Any) -> dict[str, tuple[int, ...]]:
        return {
            "/".join(key.key for key in keys[1:]): np.shape(leaf)
            for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)
        }

    given, wanted = by_path(variables), by_path(shapes)
    faults = [f"{path} is missing" for path in wanted.keys() - given.keys()]
    faults += [f"{path} is left over" for path in given.keys() - wanted.keys()]
    faults += [
        f"{path}: {given[path]} in the file, {wanted[path]} in the model"
        for path in given.keys() & wanted.keys()
        if given[path] != wanted[path]
    ]
    if faults:
        raise UsageError("; ".join(sorted(faults)))
