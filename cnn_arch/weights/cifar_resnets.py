"""Conversion of weights from Y. Idelbayev's ResNets for CIFAR-10.

github.com/akamaster/pytorch_resnet_cifar10 publishes trained networks of He et al.
2015, Section 4.2. Its shortcuts add channels of zeros on both sides of the others, ours
behind them: the channels of a stage are the same in another order.
"""

import re
from collections.abc import Mapping

import numpy as np
from flax.traverse_util import unflatten_dict

from cnn_arch.errors import UsageError
from cnn_arch.weights.names import listed

NETWORKS = tuple(f"resnet{depth}" for depth in (20, 32, 44, 56, 110, 1202))
MEAN = (123.675, 116.28, 103.53)  # trainer.py: ImageNet's, of pixels 0..255
STD = (58.395, 57.12, 57.375)
KEY = re.compile(
    r"(?:layer([123])\.(\d{1,4})\.)?(conv1|bn1|conv2|bn2|linear)"
    r"\.(weight|bias|running_mean|running_var)"
)
ARRAYS = {"running_mean": "mean", "running_var": "var", "bias": "bias"}
LAYOUTS = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}  # [O, I, H, W] to [H, W, I, O]

Arrays = dict[tuple[str, ...], np.ndarray]  # by their paths: ("params", "conv1", ...)


def is_of_cifar(name: str, state_dict: Mapping[str, np.ndarray]) -> bool:
    """Whether these may be weights of a network that this module knows."""
    return name in NETWORKS and "linear.weight" in state_dict


def from_cifar_resnet(
    state_dict: Mapping[str, np.ndarray],
) -> tuple[Arrays, list[str]]:
    """Converts the arrays of the known layers, and names the others.

    The paths of arrays begin with their collection: ("params", "conv1", "kernel").

    Raises:
      UsageError: an array has not as many axes or channels as its layer.
    """
    found: Arrays = {}
    others = []
    for key, array in state_dict.items():
        if key.endswith("num_batches_tracked"):
            continue
        if parts := KEY.fullmatch(key):
            path, axes = _path(*parts.groups()), LAYOUTS.get(array.ndim)
            if axes is None:
                raise UsageError(f"{key} has {array.ndim} axes; must be 1, 2 or 4")
            try:
                found[path] = _reordered(array, *parts.groups()).transpose(axes)
            except UsageError as error:
                raise UsageError(f"{key} has {error}") from None
        else:
            others.append(key)
    return found, sorted(others)


def read_all(state_dict: Mapping[str, np.ndarray]) -> dict[str, dict]:
    """Returns the variables of a network; all arrays must be known.

    Raises:
      UsageError: an array is of no known layer, or of another shape.
    """
    found, others = from_cifar_resnet(state_dict)
    if others:
        raise UsageError(f"left over: {listed(others)}")
    return {"params": {}, "batch_stats": {}, **unflatten_dict(found)}


def _path(stage: str, block: str, layer: str, array: str) -> tuple[str, ...]:
    blocks = (f"conv{int(stage) + 1}_{int(block) + 1}",) if stage else ()
    collection = "batch_stats" if array.startswith("running") else "params"
    weight = "scale" if layer.startswith("bn") else "kernel"
    name = {"linear": "fc"}.get(layer, layer)
    return collection, *blocks, name, ARRAYS.get(array, weight)


def _reordered(
    array: np.ndarray, stage: str, block: str, layer: str, name: str
) -> np.ndarray:
    """Puts the channels of the shortcuts, [O, I, ...], into our order."""
    if layer == "linear" and name == "weight":
        return _take(array, order(3), axis=1)
    if stage and layer in ("conv2", "bn2"):
        return _take(array, order(int(stage)), axis=0)
    if stage and layer == "conv1":
        before = int(stage) - (block == "0" and stage != "1")
        return _take(array, order(before), axis=1)
    return array


def _take(array: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
    channels = array.shape[axis] if array.ndim > axis else 0
    if channels != len(places):
        raise UsageError(f"the shape {array.shape}; must have {len(places)} channels")
    return array.take(places, axis)


def order(stage: int) -> np.ndarray:
    """Returns the place in their stage 1, 2 or 3 of each of our channels."""
    if stage == 1:
        return np.arange(16)
    before = order(stage - 1)
    pad = len(before) // 2  # channels of zeros on each side
    last = len(before) + pad
    zeros = np.r_[:pad, last : last + pad]
    return np.concatenate([before + pad, zeros])
