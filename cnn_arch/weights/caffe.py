"""Conversion of weights from Caffe, for the networks whose authors published them.

Caffe's arrays have the layout [O, I, H, W], or [O, I] in dense layers, and its images
the order blue, green, red. What differs in the function is moved into the arrays:
BatchNorm's factor and epsilon, a bias before BatchNorm, and the constants of local
response normalisation. What no array can express are fields of the network.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict

from cnn_arch.errors import UsageError
from cnn_arch.models.layers import LocalResponseNorm
from cnn_arch.screen import printable
from cnn_arch.weights.caffe_file import Layer, read_mean, read_network
from cnn_arch.weights.caffe_networks import CAFFE, Name, Norm, find
from cnn_arch.weights.names import listed
from cnn_arch.weights.numbers import as_float32

Arrays = dict[Name, np.ndarray]  # by their paths: ("params", "conv1", "kernel")
# The mean and the deviation of each channel of the pixels; None: not known.
Normalisation = tuple[tuple[float, ...] | None, tuple[float, ...] | None]

EPSILON = 1e-5  # of BatchNorm, here and in Caffe
LRN = LocalResponseNorm  # its defaults
# Of BVLC's prototxts, for a file without its layers' settings; alpha is divided by
# local_size.
LOCAL_SIZE, ALPHA, BETA, K = 5, 1e-4, 0.75, 1.0


def read(path: str, name: str) -> tuple[dict[str, Any], Normalisation, list[str]]:
    """Reads a ``.caffemodel`` for the network ``name``.

    Returns:
      ``{"params": ..., "batch_stats": ...}``, float32; the mean and the deviation of
      the pixels that they expect; the layers of the file that the network does not
      have.

    Raises:
      UsageError: the file is damaged or another network's, or Caffe has no such one.
    """
    network, layers = find(name), read_network(path)
    with np.errstate(all="ignore"):  # what is not finite then is named below
        found, others = from_caffe(name, layers)
    arrays = as_float32({"/".join(keys): array for keys, array in found.items()})
    variables = unflatten_dict({keys: arrays["/".join(keys)] for keys in found})
    first = layers.get(network.first)
    shape = first.arrays[0].shape if first and first.arrays else ()
    channels = shape[1] if len(shape) == 4 else 3
    expected = normalisation(name, layers, Path(path), channels)
    return {"params": {}, "batch_stats": {}, **variables}, expected, others


def from_caffe(name: str, layers: Mapping[str, Layer]) -> tuple[Arrays, list[str]]:
    """Converts the layers of a file for the network ``name``.

    Returns:
      The arrays by their paths; the layers of the file that the network does not have.

    Raises:
      UsageError: there is no such network of Caffe, or a layer of the file computes
        something else than the network's.
    """
    network = find(name)
    found: Arrays = {}
    others = []
    for layer in layers.values():
        if not layer.arrays:
            continue
        path = network.rename(layer.name)
        below = layers.get(network.behind_map.get(layer.name, ""))
        shape = below.arrays[0].shape if below and below.arrays else ()
        if path is None or (layer.name in network.behind_map and not shape):
            others.append(layer.name)
        elif re.fullmatch(r".*bn\d?", path[-1]):
            found |= _norm_arrays(path, layer)
        else:
            _check_settings(name, layer)
            kernel, *bias = _counted(layer, 1, 2)
            kernel = _kernel(layer, kernel, channels=shape[0] if shape else 0)
            if layer.name == network.first and kernel.shape[-2] == 3:
                kernel = kernel[..., ::-1, :]  # blue, green, red
            found["params", *path, "kernel"] = kernel
            if bias:
                found["params", *path, "bias"] = _vector(layer, *bias)
    _move_biases(found)
    for norm, place in network.norms.items():
        _fold_response_norm(found, norm, place, layers.get(norm))
    return found, sorted(others)


def normalisation(
    name: str, layers: Mapping[str, Layer], path: Path, channels: int
) -> Normalisation:
    """Returns the mean and the deviation of the pixels that a file's network expects.

    The mean is, in this order: that of the mean image beside the file, which has its
    name and the ending .binaryproto; the mean_value of the file's data layer; that of
    the authors' training.

    Args:
      name: of the network.
      layers: of the file.
      path: of the file.
      channels: of the images.

    Raises:
      UsageError: the mean image is damaged, or of other images.
    """
    groups = (layer.settings("transform_param") for layer in layers.values())
    settings = next((group for group in groups if group is not None), None)
    image = path.with_suffix(".binaryproto")
    if image.exists():
        mean = read_mean(image)
        if len(mean) != channels:
            raise UsageError(
                f"{image.name} beside it has {len(mean)} channels, not {channels}; "
                "delete or replace it"
            )
    elif settings and len(settings.mean_value) in (1, channels):
        mean = tuple(settings.mean_value) * (channels // len(settings.mean_value))
    else:
        mean = find(name).mean[::-1] if channels == 3 else ()
    scale = settings.scale if settings else 1.0
    std = (1 / scale,) * channels if scale > 0 else None
    return mean[::-1] or None, std


def _counted(layer: Layer, least: int, most: int) -> tuple[np.ndarray, ...]:
    """Returns the arrays of a layer, after they are counted."""
    if not least <= len(layer.arrays) <= most:
        raise UsageError(
            f"{printable(layer.name, 60)} has {len(layer.arrays)} arrays; must be "
            f"{least}" + f" or {most}" * (least < most)
        )
    return layer.arrays


def _kernel(layer: Layer, array: np.ndarray, channels: int) -> np.ndarray:
    """Returns a kernel as [H, W, I, O] or [I, O].

    Args:
      layer: for messages.
      array: [O, I, H, W], [O, I] or, in old files, [1, 1, O, I].
      channels: of the map that a dense layer reads; 0: no map.
    """
    if array.ndim == 4 and array.shape[:2] == (1, 1):
        array = array[0, 0]
    if array.ndim not in (2, 4):
        raise UsageError(
            f"{printable(layer.name, 60)} has the shape {array.shape}; must be (O, I) "
            "or (O, I, H, W)"
        )
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    dense = layer.settings("inner_product_param")
    array = array.T if dense and dense.transpose else array
    side = math.isqrt(array.shape[1] // channels) if channels else 1
    if side == 1:
        return array.T
    if channels * side**2 != array.shape[1]:
        raise UsageError(
            f"{printable(layer.name, 60)} reads {array.shape[1]:,} numbers; must be a "
            f"square map of {channels} channels"
        )
    outputs = len(array)
    array = array.reshape(outputs, channels, side, side).transpose(2, 3, 1, 0)
    return array.reshape(-1, outputs)


def _vector(layer: Layer, array: np.ndarray) -> np.ndarray:
    """Returns one number a channel; old files store it as [1, 1, 1, C]."""
    if array.size != max(array.shape, default=1):
        raise UsageError(
            f"{printable(layer.name, 60)} has an array of the shape {array.shape}; "
            "must be one number a channel"
        )
    return array.reshape(-1)


def _norm_arrays(path: Name, layer: Layer) -> Arrays:
    """Returns the arrays of a BatchNorm layer, or of the Scale layer behind it."""
    if len(layer.arrays) < 3:
        scale, *bias = (_vector(layer, array) for array in _counted(layer, 1, 2))
        return {
            ("params", *path, "scale"): scale,
            ("params", *path, "bias"): bias[0] if bias else np.zeros_like(scale),
        }
    mean, variance, factor = (_vector(layer, array) for array in _counted(layer, 3, 3))
    if factor.size != 1:
        raise UsageError(
            f"{printable(layer.name, 60)} has {factor.size:,} factors, not 1"
        )
    # The sums of a moving average, and the sum of its weights.
    factor = factor.astype(np.float64)
    factor = np.divide(1, factor, out=np.zeros_like(factor), where=factor != 0)
    settings = layer.settings("batch_norm_param")
    epsilon = settings.eps if settings else EPSILON
    return {
        ("batch_stats", *path, "mean"): mean * factor,
        ("batch_stats", *path, "var"): variance * factor + (epsilon - EPSILON),
    }


def _move_biases(found: Arrays) -> None:
    """Moves the bias of a convolution before BatchNorm into BatchNorm's mean."""
    for path in [path for path in found if path[-1] == "bias"]:
        *blocks, layer = path[1:-1]
        norm = "shortcut_bn" if layer == "shortcut" else layer.replace("conv", "bn")
        mean = "batch_stats", *blocks, norm, "mean"
        is_before = norm != layer and mean in found
        if is_before and found[mean].shape == found[path].shape:
            found[mean] = found[mean] - found.pop(path)


def _fold_response_norm(
    found: Arrays, name: str, place: Norm, layer: Layer | None
) -> None:
    """Puts Caffe's constants of a local response normalisation into its neighbours.

    Caffe: x (k + alpha / n * s)^-0.75, with the sum s of n squares. Here, k and alpha
    are others; with x multiplied by ``inside`` before, and by ``outside`` behind, the
    function is the same.
    """
    size, alpha, beta, k = LOCAL_SIZE, ALPHA, BETA, K
    region = 0
    if layer is not None and place.reads not in layer.inputs:
        raise UsageError(
            f"{name} reads {listed(layer.inputs)}; must read {place.reads}: this is "
            "another network (CaffeNet, which is not here, normalises after the pool)"
        )
    if layer is not None and (settings := layer.settings("lrn_param")):
        size, alpha, beta = settings.local_size, settings.alpha, settings.beta
        k, region = settings.k, settings.norm_region
    is_usable = all(1e-12 < number < 1e12 for number in (alpha, k))
    if (size, beta, region) != (LRN.num_maps, 0.75, 0) or not is_usable:
        raise UsageError(
            f"{name} has local_size={size}, beta={beta:g}, alpha={alpha:g}, k={k:g}, "
            f"norm_region={region}; must be {LRN.num_maps}, 0.75, above 0, above 0 and "
            "0 (across channels)"
        )
    inside = math.sqrt((alpha / size / k) / (LRN.alpha / LRN.k))
    outside = (LRN.k / k) ** 0.75 / inside
    for array in ("kernel", "bias"):
        _multiply(found, ("params", *place.before, array), inside)
    for path in place.after:
        _multiply(found, ("params", *path, "kernel"), outside)


def _multiply(found: Arrays, path: Name, factor: float) -> None:
    if path in found:
        found[path] = found[path] * factor


def _check_settings(name: str, layer: Layer) -> None:
    """Checks the stride and the padding of a convolution, if the file has them."""
    settings, network = layer.settings("convolution_param"), CAFFE[name]
    if settings is None:
        return
    size = layer.arrays[0].shape[-1] if layer.arrays[0].ndim else 0
    stride = network.strides.get(layer.name, 1)
    padding = network.paddings.get(layer.name, size // 2)
    strides = {*settings.stride, settings.stride_h, settings.stride_w} - {0} or {1}
    paddings = {*settings.pad, settings.pad_h, settings.pad_w} - {0} or {0}
    dilations = {*settings.dilation} or {1}
    if (strides, paddings, dilations) != ({stride}, {padding}, {1}):
        raise UsageError(
            f"{printable(layer.name, 60)} has the stride {_shown(strides)}, padding "
            f"{_shown(paddings)} and dilation {_shown(dilations)}; in {name} they are "
            f"{stride}, {padding} and 1: this is another network; choose the config of "
            "the file's"
        )


def _shown(numbers: set[int]) -> str:
    return " or ".join(map(str, sorted(numbers)))
