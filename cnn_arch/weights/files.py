"""Files of weights: read completely or not at all, and never executed."""

import dataclasses
import itertools
import json
import math
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from cnn_arch.errors import UsageError
from cnn_arch.files import replacing
from cnn_arch.screen import printable
from cnn_arch.weights import SUFFIXES, caffe, cifar_resnets
from cnn_arch.weights.caffe_networks import CAFFE, find, networks_with
from cnn_arch.weights.names import check_shapes, listed
from cnn_arch.weights.numbers import as_float32
from cnn_arch.weights.pth import read_pth
from cnn_arch.weights.torchvision import (
    TORCHVISION,
    fitting_arrays,
    from_torchvision,
    to_torchvision,
)

TYPES = ("F16", "BF16", "F32", "F64", "I32", "I64")  # of safetensors; I: counters
COLLECTIONS = ("params", "batch_stats")


@dataclasses.dataclass(frozen=True)
class Weights:
    """The content of a file: arrays, and how to normalise images for them."""

    variables: dict[str, Any]  # {"params": ..., "batch_stats": ...}, NumPy arrays
    mean: tuple[float, ...] | None = None  # of pixels 0..255; None: not in the file
    std: tuple[float, ...] | None = None
    # Fields of the network (config.model.fields) with which these arrays were trained.
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read_weights(path: str, name: str) -> Weights:
    """Reads the weights of the network ``name``.

    The file is an ``.npz`` of ``write_npz``, torchvision's ``state_dict``
    (``.safetensors``, ``.pth``, ``.pt`` or ``.th``), that of a ResNet of
    ``cifar_resnets``, or Caffe's ``.caffemodel``.

    Raises:
      UsageError: the file is missing, damaged, of another type or another network's.
    """
    try:
        suffix = _suffix(path)
        if suffix == ".npz":
            return Weights(read_npz(path))
        if suffix == ".caffemodel":
            weights, others = _read_caffe(path, name)
            if others:
                hint = networks_with(others)
                raise UsageError(f"{name} has no such layers: {listed(others)}; {hint}")
            return weights
        arrays, notes = _read_state_dict(path)
        if cifar_resnets.is_of_cifar(name, arrays):
            variables = cifar_resnets.read_all(arrays)
            return Weights(variables, cifar_resnets.MEAN, cifar_resnets.STD)
        variables = from_torchvision(name, arrays)
        return Weights(variables, *_normalisation(name, arrays, notes))
    except UsageError as error:
        raise UsageError(f"--weights={path}: {error}") from None


def read_fitting(path: str, names: Sequence[str]) -> tuple[Weights, list[str]]:
    """Reads the arrays of a file that fit a network, and names the others.

    Args:
      path: of a file as for ``read_weights``, which may also be another network's.
      names: of networks; the arrays of torchvision's file are named as in the network
        that most of them fit, Caffe's as in the first that Caffe has.

    Raises:
      UsageError: the file is missing, damaged or of another type.
    """
    suffix = _suffix(path)
    if suffix == ".npz":
        return Weights(read_npz(path)), []
    if suffix == ".caffemodel":
        return _read_caffe(path, next((x for x in names if x in CAFFE), names[0]))
    arrays, notes = _read_state_dict(path)
    if cifar_resnets.is_of_cifar(names[0], arrays):
        found, others = cifar_resnets.from_cifar_resnet(arrays)
        variables = unflatten_dict(found)
        return Weights(variables, cifar_resnets.MEAN, cifar_resnets.STD), others
    known = [name for name in names if name in TORCHVISION] or names[:1]
    answers = {name: fitting_arrays(name, arrays) for name in known}
    name = max(known, key=lambda name: len(answers[name][0]))
    found, others = answers[name]
    return Weights(unflatten_dict(found), *_normalisation(name, arrays, notes)), others


def _suffix(path: str) -> str:
    """Returns the ending of a file; checks that it can be read at all."""
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise UsageError(f"must end in {', '.join(SUFFIXES)}")
    if not Path(path).is_file():
        raise UsageError("no such file")
    return suffix


def _read_caffe(path: str, name: str) -> tuple[Weights, list[str]]:
    """Returns the arrays of Caffe's file, and its layers that are not the network's."""
    variables, normalisation, others = caffe.read(path, name)
    return Weights(variables, *normalisation, find(name).fields), others


def _read_state_dict(path: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns the arrays of torchvision's file as float32, and its metadata."""
    is_pth = Path(path).suffix != ".safetensors"
    arrays, notes = (read_pth(path), {}) if is_pth else read_safetensors(path)
    return as_float32(arrays), notes


def _normalisation(
    name: str, arrays: Mapping[str, np.ndarray], notes: Mapping[str, str]
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Returns the mean and the deviation of the pixels that weights expect."""
    default = TORCHVISION[name]
    first = np.shape(arrays.get(f"{default.first}.weight", ()))
    channels = first[1] if len(first) == 4 else 0
    if channels != len(default.mean):  # the weights of another training
        default = dataclasses.replace(default, mean=None, std=None)
    return (
        _numbers(notes, "mean", channels) or default.mean,
        _numbers(notes, "std", channels) or default.std,
    )


def _numbers(
    notes: Mapping[str, str], key: str, channels: int
) -> tuple[float, ...] | None:
    """Reads a number for each channel from a file's metadata; None without the key."""
    if key not in notes:
        return None
    try:
        given = json.loads(notes[key])
        numbers = tuple(map(float, given)) if isinstance(given, list) else ()
    except (ValueError, TypeError, OverflowError, RecursionError):
        numbers = ()
    is_usable = all(math.isfinite(x) and (key == "mean" or x > 0) for x in numbers)
    if len(numbers) != channels or not is_usable:
        rule = "finite" if key == "mean" else "above 0"
        raise UsageError(
            f"its {key} is {printable(notes[key], 40)}: must be {channels} numbers, "
            f"{rule}"
        )
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
            members = archive.infolist()
        if any(each.compress_type != zipfile.ZIP_STORED for each in members):
            raise ValueError("it is compressed")
        names = [each.filename for each in members]
        if any(not name.endswith(".npy") for name in names):
            raise ValueError("it has files that are not arrays")
        _check_names([name.removesuffix(".npy") for name in names])
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except UsageError:
        raise
    except Exception as error:  # of zipfile or NumPy, depending on the damage
        reason = str(error) or type(error).__name__
        raise UsageError(f"not a complete .npz file ({reason})") from None
    by_path = {tuple(name.split("/")): x for name, x in as_float32(arrays).items()}
    return {"params": {}, "batch_stats": {}} | unflatten_dict(by_path)


def _check_names(names: Sequence[str]) -> None:
    """Checks that names are paths of arrays in a tree, each of them once."""
    starts = tuple(f"{name}/" for name in COLLECTIONS)
    if others := [name for name in names if not name.startswith(starts)]:
        raise UsageError(f"neither in params/ nor in batch_stats/: {listed(others)}")
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise UsageError(f"more than once in the file: {listed(twice)}")
    folders = {
        folder
        for name in names
        for folder in itertools.accumulate(name.split("/")[:-1], "{}/{}".format)
    }
    if both := sorted(folders.intersection(names)):
        raise UsageError(f"an array and a folder at once: {listed(both)}")


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
      UsageError: the file is damaged, or contains an array of another type.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            types = {key: file.get_slice(key).get_dtype() for key in file.keys()}
            notes = file.metadata() or {}
        others = [f"{key} ({types[key]})" for key in types if types[key] not in TYPES]
        if others:
            raise UsageError(f"of a type that is not read: {listed(others)}")
        # NumPy has no bfloat16 without JAX.
        framework = "flax" if "BF16" in types.values() else "numpy"
        with safe_open(path, framework=framework) as file:
            return {key: np.asarray(file.get_tensor(key)) for key in types}, notes
    except (SafetensorError, OSError) as error:
        raise UsageError(f"not a whole safetensors file ({error})") from None


def check_fit(variables: Any, shapes: Any) -> None:
    """Checks that the arrays of a file have the names and shapes of a model.

    Raises:
      UsageError: they do not.
    """

    def by_path(tree: Any) -> dict[str, tuple[int, ...]]:
        flat: Any = flatten_dict(dict(tree))
        return {"/".join(keys[1:]): np.shape(leaf) for keys, leaf in flat.items()}

    check_shapes(by_path(variables), by_path(shapes))
