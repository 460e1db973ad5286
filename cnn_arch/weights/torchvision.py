"""Conversion of weights from and to torchvision, for networks that both have.

A ``state_dict`` is a dict of NumPy arrays in PyTorch's layout: convolutions [O, I, H,
W], dense layers [O, I]. Variables have the form of ``models.init_variables``.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from cnn_arch.errors import UsageError
from cnn_arch.models import create_model, init_variables
from cnn_arch.models.vgg import STAGES
from cnn_arch.weights.names import check_shapes

StateDict = dict[str, np.ndarray]
Path = tuple[str, ...]  # of a layer or an array: ("inception_3a", "1x1", "conv")

AUX = ("aux", "AuxLogits.")  # the names of auxiliary heads start with these
COUNTER = "num_batches_tracked"  # in each BatchNorm of PyTorch; not used here
ARRAYS = {  # our name of an array -> PyTorch's
    "kernel": "weight",
    "bias": "bias",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
HALF = (127.5, 127.5, 127.5)  # these weights come from TensorFlow: pixels in [-1, 1]


@dataclasses.dataclass(frozen=True)
class Counterpart:
    """A network of torchvision, and the names of its layers."""

    name: str  # of the function in torchvision.models
    rename: Callable[[Path], str]  # from our path of a layer to torchvision's name
    first: str  # torchvision's name of the first convolution
    head: str  # torchvision's name of the dense layer that computes the logits
    image_size: int = 224  # px, in the training of the weights
    # Dense layers that follow a map -> side of the map. torchvision flattens the map
    # channel by channel, this project pixel by pixel.
    behind_map: Mapping[str, int] = dataclasses.field(default_factory=dict)
    mean: tuple[float, ...] = (123.675, 116.28, 103.53)  # of pixels 0..255
    std: tuple[float, ...] = (58.395, 57.12, 57.375)


def _by_table(table: Mapping[str, str], path: Path) -> str:
    """Renames each part of a path that is in the table."""
    return ".".join(table.get(part, part) for part in path)


def _vgg(name: str, configuration: str) -> Counterpart:
    """Numbers the layers as torchvision's ``nn.Sequential`` does."""
    table = {f"fc{6 + i}": f"classifier.{p}" for i, p in enumerate((0, 3, 6))}
    place = 0
    for stage, widths in enumerate(STAGES[configuration], start=1):
        for index in range(1, len(widths) + 1):
            conv = f"conv{stage}_{index}"
            if name.endswith("_bn"):  # convolution, BatchNorm, ReLU
                table[f"{conv}/conv"] = f"features.{place}"
                table[f"{conv}/bn"] = f"features.{place + 1}"
                place += 3
            else:
                table[conv] = f"features.{place}"
                place += 2
        place += 1  # the pool
    return Counterpart(
        name,
        lambda path: table["/".join(path)],
        first="features.0",
        head="classifier.6",
        behind_map={"fc6": 7},
    )


def _googlenet(path: Path) -> str:
    table = {
        "conv2_reduce": "conv2",
        "conv2": "conv3",
        "1x1": "branch1",
        "3x3_reduce": "branch2.0",
        "3x3": "branch2.1",
        "5x5_reduce": "branch3.0",
        "5x5": "branch3.1",
        "pool_proj": "branch4.1",
    }
    return _by_table(table, path).replace("inception_", "inception")


def _resnet(name: str) -> Counterpart:
    table = {"shortcut": "downsample.0", "shortcut_bn": "downsample.1"}

    def block(found: re.Match[str]) -> str:
        return f"layer{int(found[1]) - 1}.{int(found[2]) - 1}"

    def rename(path: Path) -> str:
        return re.sub(r"^conv(\d)_(\d+)", block, _by_table(table, path))

    return Counterpart(name, rename, first="conv1", head="fc")


ALEXNET_LAYERS = {
    "conv1": "features.0",
    "conv2": "features.3",
    "conv3": "features.6",
    "conv4": "features.8",
    "conv5": "features.10",
    "fc6": "classifier.1",
    "fc7": "classifier.4",
    "fc8": "classifier.6",
}
VGG_NAMES = {"vgg11": "A", "vgg13": "B", "vgg16": "D", "vgg19": "E"}
TORCHVISION: dict[str, Counterpart] = {
    "alexnet_owt": Counterpart(
        "alexnet",
        partial(_by_table, ALEXNET_LAYERS),
        first="features.0",
        head="classifier.6",
        behind_map={"fc6": 6},
    ),
    **{name: _vgg(name, letter) for name, letter in VGG_NAMES.items()},
    **{f"{name}_bn": _vgg(f"{name}_bn", letter) for name, letter in VGG_NAMES.items()},
    "googlenet_bn": Counterpart(
        "googlenet",
        _googlenet,
        first="conv1.conv",
        head="fc",
        behind_map={"fc1": 4},
        mean=HALF,
        std=HALF,
    ),
    "inception_v3": Counterpart(
        "inception_v3",
        partial(_by_table, {"aux": "AuxLogits"}),
        first="Conv2d_1a_3x3.conv",
        head="fc",
        image_size=299,
        mean=HALF,
        std=HALF,
    ),
    **{f"resnet{depth}": _resnet(f"resnet{depth}") for depth in (18, 34)},
    **{f"resnet{depth}_v1_5": _resnet(f"resnet{depth}") for depth in (50, 101, 152)},
}


def from_torchvision(name: str, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Converts torchvision's weights to our variables.

    The ``state_dict`` determines the number of classes, the number of image channels
    and whether there are auxiliary heads. ``name`` is a key of ``TORCHVISION``.

    Returns:
      ``{"params": ..., "batch_stats": ...}``, float32 NumPy arrays.

    Raises:
      UsageError: torchvision does not have the network; or keys are missing, left over
        or of another shape.
    """
    counterpart = _find(name)
    given = _without_counters(state_dict)
    variables = _abstract_variables(name, given)
    key = partial(_key, counterpart)
    wanted = {key(path): _shape(leaf) for path, leaf in _arrays(variables)}
    try:
        check_shapes({key: array.shape for key, array in given.items()}, wanted)
    except UsageError as error:
        raise UsageError(
            f"{name}: not the weights of torchvision's {counterpart.name}; {error}"
        ) from None
    return {
        "batch_stats": {},
        **unflatten_dict(_convert(counterpart, variables, given)),
    }


def fitting_arrays(
    name: str, state_dict: Mapping[str, Any]
) -> tuple[dict[Path, np.ndarray], list[str]]:
    """Converts the arrays that fit a network, and names the others.

    The paths of arrays begin with their collection: ("params", "conv1", "kernel").
    Arrays may be missing, and those of other layers or of another shape are left over.

    Raises:
      UsageError: torchvision does not have the network.
    """
    counterpart, given = _find(name), _without_counters(state_dict)
    found = _convert(counterpart, _abstract_variables(name, given), given)
    known = {_key(counterpart, path[1:]) for path in found}
    return found, sorted(given.keys() - known)


def _convert(
    counterpart: Counterpart, variables: Any, given: StateDict
) -> dict[Path, np.ndarray]:
    """Converts the arrays that have the name and the shape of one of the variables."""
    converted: dict[Path, np.ndarray] = {}
    flat: Any = flatten_dict(dict(variables))
    for path, leaf in flat.items():
        array = given.get(_key(counterpart, path[1:]))
        if array is None or array.shape != _shape(leaf):
            continue
        if side := _side_of_map(counterpart, path):  # [O, I H W] -> [H W I, O]
            array = array.reshape(len(array), -1, side, side).transpose(2, 3, 1, 0)
            converted[path] = array.reshape(leaf.shape)
        else:
            converted[path] = np.ascontiguousarray(array.transpose(_HWIO[array.ndim]))
    return converted


def to_torchvision(name: str, variables: Mapping[str, Any]) -> StateDict:
    """Converts our variables to the ``state_dict`` of ``torchvision.models``.

    Raises:
      UsageError: torchvision does not have the network.
    """
    counterpart = _find(name)
    state_dict: StateDict = {}
    for path, leaf in _arrays(variables):
        array = np.asarray(leaf, np.float32)
        side = _side_of_map(counterpart, path)
        if side:  # [H W I, O] -> [O, I H W]
            array = array.reshape(side, side, -1, array.shape[1])
            array = array.transpose(3, 2, 0, 1).reshape(array.shape[3], -1)
        else:
            array = array.transpose(_OIHW[array.ndim])
        key = _key(counterpart, path)
        state_dict[key] = np.ascontiguousarray(array)
        if path[-1] == "var":
            state_dict[key.replace("running_var", COUNTER)] = np.zeros((), np.int64)
    return state_dict


# Axes of vectors, dense kernels and convolution kernels: to our layout and PyTorch's.
_HWIO = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}
_OIHW = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}


def _shape(leaf: Any) -> tuple[int, ...]:  # in PyTorch's layout
    return tuple(leaf.shape[axis] for axis in _OIHW[leaf.ndim])


def _without_counters(state_dict: Mapping[str, Any]) -> StateDict:
    return {
        key: np.asarray(value, np.float32)
        for key, value in state_dict.items()
        if not key.endswith(COUNTER)
    }


def _find(name: str) -> Counterpart:
    if name in TORCHVISION:
        return TORCHVISION[name]
    ours = {counterpart.name: key for key, counterpart in TORCHVISION.items()}
    if name in ours:
        raise UsageError(
            f"{name}: torchvision's network of this name is another one, which is "
            f"{ours[name]} here; use configs/{ours[name]}.py"
        )
    raise UsageError(
        f"{name}: torchvision has no such network; it has the counterparts of "
        f"{', '.join(TORCHVISION)}"
    )


def _abstract_variables(name: str, given: StateDict) -> Any:
    """Returns the shapes of a network with the given classes, channels and heads."""
    counterpart = TORCHVISION[name]
    head = np.shape(given.get(f"{counterpart.head}.weight", ()))
    first = np.shape(given.get(f"{counterpart.first}.weight", ()))
    num_classes = head[0] if len(head) == 2 else 1000
    channels = 1 if len(first) == 4 and first[1] == 1 else 3
    model: Any = create_model(name, num_classes)
    if hasattr(model, "aux_heads"):
        model = model.clone(aux_heads=any(key.startswith(AUX) for key in given))
    return jax.eval_shape(
        lambda key: init_variables(model, key, counterpart.image_size, channels),
        jax.random.key(0),
    )


def _arrays(variables: Any) -> Iterator[tuple[Path, Any]]:
    """Yields each array with its path, without the name of the collection."""
    for path, leaf in sorted(flatten_dict(dict(variables)).items()):
        yield path[1:], leaf


def _key(counterpart: Counterpart, path: Path) -> str:
    return f"{counterpart.rename(path[:-1])}.{ARRAYS[path[-1]]}"


def _side_of_map(counterpart: Counterpart, path: Path) -> int:
    return counterpart.behind_map.get(path[-2], 0) if path[-1] == "kernel" else 0
