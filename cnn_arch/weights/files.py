"""Files of weights: read completely or not at all, and never executed."""

import dataclasses
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from cnn_arch.errors import UsageError
from cnn_arch.files import replacing
from cnn_arch.weights.torchvision import TORCHVISION, from_torchvision, to_torchvision

SUFFIXES = (".npz", ".safetensors", ".pth", ".pt")
COLLECTIONS = ("params", "batch_stats")


@dataclasses.dataclass(frozen=True)
class Weights:
    """The content of a file: arrays, and how to normalise images for them."""

    variables: dict[str, Any]  # {"params": ..., "batch_stats": ...}, NumPy arrays
    mean: tuple[float, ...] | None = None  # of pixels 0..255; None: not in the file
    std: tuple[float, ...] | None = None


def read_weights(path: str, name: str) -> Weights:
    """Reads the weights of the network ``name``.

    The file is an ``.npz`` of ``write_npz``, or torchvision's ``state_dict``: as
    ``.safetensors``, or as ``.pth`` if PyTorch is installed.

    Raises:
      UsageError: the file is missing, damaged, of another type or another network's.
    """
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise UsageError(f"--weights={path}: must end in {', '.join(SUFFIXES)}")
    if not Path(path).is_file():
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
        std = _numbers(notes, "std") or default.std
        return Weights(variables, mean, std)
    except UsageError as error:
        raise UsageError(f"--weights={path}: {error}") from None


def _numbers(notes: Mapping[str, str], key: str) -> tuple[float, ...] | None:
    """Reads a list of numbers from a file's metadata; None if there is no such key."""
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
    """Writes ``{"params": ..., "batch_stats": ...}`` for ``numpy.load``.

    Each key is the path of an array: ``params/conv1/kernel``.
    """
    flat: Any = flatten_dict({key: variables[key] for key in COLLECTIONS})
    arrays = {"/".join(keys): flat[keys] for keys in sorted(flat)}
    with replacing(path) as draft:
        np.savez(draft, allow_pickle=False, **arrays)


def read_npz(path: str) -> dict[str, Any]:
    """Reads a file of ``write_npz``.

    Raises:
      UsageError: the file is damaged, or ``write_npz`` did not make it.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # a small file could expand to terabytes
            methods = {info.compress_type for info in archive.infolist()}
        if methods - {zipfile.ZIP_STORED}:
            raise ValueError("it is compressed")
        with np.load(path, allow_pickle=False) as file:
            arrays = {tuple(key.split("/")): file[key] for key in file.files}
    except Exception as error:  # of zipfile or NumPy, depending on the damage
        reason = str(error) or type(error).__name__
        raise UsageError(f"not a complete .npz file ({reason})") from None
    for keys in arrays:
        if len(keys) == 1 or keys[0] not in COLLECTIONS:
            key = "/".join(keys)
            raise UsageError(f"{key} is neither in params/ nor in batch_stats/")
    return {"params": {}, "batch_stats": {}} | unflatten_dict(arrays)


def write_safetensors(
    path: Path,
    name: str,
    variables: Mapping[str, Any],
    mean: Sequence[float],
    std: Sequence[float],
) -> None:
    """Writes torchvision's ``state_dict``; metadata stores the normalisation.

    Raises:
      UsageError: torchvision has no such network.
    """
    from safetensors.numpy import save_file

    notes = {"mean": json.dumps(list(mean)), "std": json.dumps(list(std))}
    save_file(to_torchvision(name, variables), path, metadata=notes)


def read_safetensors(path: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads the arrays by name, and the file's metadata.

    Raises:
      UsageError: the file is damaged, or contains a type that NumPy does not have.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {key: file.get_tensor(key) for key in file.keys()}
            return arrays, file.metadata() or {}
    except (SafetensorError, TypeError, ValueError, KeyError) as error:
        raise UsageError(f"not a safetensors file of float32 ({error})") from None


def read_pth(path: str) -> dict[str, np.ndarray]:
    """Reads a PyTorch file that contains tensors only.

    Raises:
      UsageError: PyTorch is not installed, or the file is damaged or has other content.
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
    except Exception:  # of zipfile, pickle or PyTorch, depending on the damage
        raise UsageError(
            "not a complete PyTorch file of tensors only; torch.save(model.state_dict()"
            ", FILE) makes one"
        ) from None
    if not isinstance(state_dict, Mapping) or not all(
        isinstance(value, torch.Tensor) for value in state_dict.values()
    ):
        raise UsageError("not a state_dict: a dict from names to tensors")
    return {key: value.numpy() for key, value in state_dict.items()}


def check_fit(variables: Any, shapes: Any) -> None:
    """Checks that the arrays of a file have the names and shapes of a model.

    Raises:
      UsageError: they do not; the message names the arrays and both shapes.
    """

    def by_path(tree: Any) -> dict[str, tuple[int, ...]]:
        flat: Any = flatten_dict(dict(tree))
        return {"/".join(keys[1:]): np.shape(leaf) for keys, leaf in flat.items()}

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
