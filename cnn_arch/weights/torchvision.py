"""Weights by torchvision's names, for the networks that both have.

A ``state_dict`` here is a dict of NumPy arrays in PyTorch's layout: convolutions [O, I,
H, W], dense layers [O, I]. Variables are those of ``models.init_variables``.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from cnn_arch.errors import UsageError
from cnn_arch.models import create_model, init_variables
from cnn_arch.models.vgg import STAGES

StateDict = dict[str, np.ndarray]
Path = tuple[str, ...]  # of a layer or an array: ("inception_3a", "1x1", "conv")

AUX = ("aux", "AuxLogits.")  # how the names of auxiliary heads begin
COUNTER = "num_batches_tracked"  # PyTorch's, in each BatchNorm; not used here
ARRAYS = {
    "kernel": "weight",
    "bias": "bias",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
HALF = (127.5, 127.5, 127.5)  # TensorFlow's, whose weights these are: to [-1, 1]


@dataclasses.dataclass(frozen=True)
class Counterpart:
    """What torchvision calls a network and its layers."""

    name: str  # of the function in torchvision.models
    rename: Callable[[Path], str]  # from the path of a layer here to its name there
    first: str  # name of the first convolution there
    head: str  # name of the dense layer there that computes the logits
    image_size: int = 224  # px, of the images that the weights were trained on
    # Dense layers right behind a map, and the side of that map: torchvision flattens
    # channel by channel, this project pixel by pixel.
    behind_map: Mapping[str, int] = dataclasses.field(default_factory=dict)
    mean: tuple[float, ...] = (123.675, 116.28, 103.53)  # of pixels 0..255
    std: tuple[float, ...] = (58.395, 57.12, 57.375)


def _by_table(table: Mapping[str, str], path: Path) -> str:
    """Renames each part of a path; what the table lacks stays."""
    return ".".join(table.get(part, part) for part in path)


def _alexnet() -> Counterpart:
    places = enumerate((0, 3, 6, 8, 10), start=1)
    table = {f"conv{layer}": f"features.{place}" for layer, place in places}
    table |= {f"fc{6 + i}": f"classifier.{p}" for i, p in enumerate((1, 4, 6))}
    return Counterpart(
        "alexnet",
        partial(_by_table, table),
        first="features.0",
        head="classifier.6",
        behind_map={"fc6": 6},
    )


def _vgg(name: str, configuration: str) -> Counterpart:
    """Numbers the layers as torchvision's ``nn.Sequential`` does."""
    table = {f"fc{6 + i}": f"classifier.{p}" for i, p in enumerate((0, 3, 6))}
    place, has_bn = 0, name.endswith("_bn")
    for stage, widths in enumerate(STAGES[configuration], start=1):
        for index in range(1, len(widths) + 1):
            conv = f"conv{stage}_{index}"
            if has_bn:  # convolution, BatchNorm, ReLU
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


def _googlenet() -> Counterpart:
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
    return Counterpart(
        "googlenet",
        lambda path: _by_table(table, path).replace("inception_", "inception"),
        first="conv1.conv",
        head="fc",
        behind_map={"fc1": 4},
        mean=HALF,
        std=HALF,
    )


def _inception_v3() -> Counterpart:
    return Counterpart(
        "inception_v3",
        partial(_by_table, {"aux": "AuxLogits"}),
        first="Conv2d_1a_3x3.conv",
        head="fc",
        image_size=299,
        mean=HALF,
        std=HALF,
    )


def _resnet(name: str) -> Counterpart:
    table = {"shortcut": "downsample.0", "shortcut_bn": "downsample.1"}

    def rename(path: Path) -> str:
        def block(found: re.Match[str]) -> str:
            return f"layer{int(found[1]) - 1}.{int(found[2]) - 1}"

        return re.sub(r"^conv(\d)_(\d+)", block, _by_table(table, path))

    return Counterpart(name, rename, first="conv1", head="fc")


VGG_NAMES = {"vgg11": "A", "vgg13": "B", "vgg16": "D", "vgg19": "E"}
TORCHVISION: dict[str, Counterpart] = {
    "alexnet_owt": _alexnet(),
    **{name: _vgg(name, letter) for name, letter in VGG_NAMES.items()},
    **{f"{name}_bn": _vgg(f"{name}_bn", letter) for name, letter in VGG_NAMES.items()},
    "googlenet_bn": _googlenet(),
    "inception_v3": _inception_v3(),
    **{f"resnet{depth}": _resnet(f"resnet{depth}") for depth in (18, 34)},
    **{f"resnet{depth}_v1_5": _resnet(f"resnet{depth}") for depth in (50, 101, 152)},
}


def from_torchvision(name: str, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the variables that hold torchvision's weights.

    The number of classes and of the image's channels, and whether there are auxiliary
    heads, are read off the ``state_dict``.

    Args:
      name: of a network of ours, a key of ``TORCHVISION``.
      state_dict: arrays by torchvision's keys.

    Returns:
      ``{"params": ..., "batch_stats": ...}``, float32 arrays of NumPy.

    Raises:
      UsageError: torchvision has no such network, or keys are missing, left over or
        misshapen; the message names them all.
    """
    counterpart = _find(name)
    given = {
        key: np.shape(value)
        for key, value in state_dict.items()
        if not key.endswith(COUNTER)
    }
    shapes = _abstract_variables(name, given)
    wanted = {
        _key(counterpart, path): _torch_shape(leaf.shape)
        for path, leaf in _arrays(shapes)
    }
    _check(name, given, wanted)

    def convert(keys: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        path = tuple(key.key for key in keys)[1:]
        array = np.asarray(state_dict[_key(counterpart, path)], np.float32)
        side = _side_of_map(counterpart, path)
        if side:  # [O, I H W] -> [H W I, O]
            array = array.reshape(len(array), -1, side, side)
            return array.transpose(2, 3, 1, 0).reshape(leaf.shape)
        return np.ascontiguousarray(array.transpose(_HWIO[array.ndim]))

    return jax.tree_util.tree_map_with_path(convert, shapes)


def to_torchvision(name: str, variables: Mapping[str, Any]) -> StateDict:
    """Returns the ``state_dict`` that the network in ``torchvision.models`` loads.

    Args:
      name: of a network of ours, a key of ``TORCHVISION``.
      variables: ``{"params": ..., "batch_stats": ...}``.

    Raises:
      UsageError: torchvision has no such network.
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


# Axes of vectors, of dense and of convolution kernels: to ours, and to PyTorch's.
_HWIO = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}
_OIHW = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}


def _find(name: str) -> Counterpart:
    ours = {counterpart.name: key for key, counterpart in TORCHVISION.items()}
    if name not in TORCHVISION and name in ours:
        raise UsageError(
            f"{name}: another network than torchvision's of that name, which is "
            f"{ours[name]} here; take configs/{ours[name]}.py"
        )
    if name not in TORCHVISION:
        raise UsageError(
            f"{name}: torchvision has no such network; it has the counterparts of "
            f"{', '.join(TORCHVISION)}"
        )
    return TORCHVISION[name]


def _abstract_variables(name: str, given: Mapping[str, tuple[int, ...]]) -> Any:
    """Returns the shapes of a network of the classes and channels that are given."""
    counterpart = TORCHVISION[name]
    head = given.get(f"{counterpart.head}.weight", ())
    first = given.get(f"{counterpart.first}.weight", ())
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
    """Lists the arrays with their paths, without the name of the collection."""
    for keys, leaf in jax.tree_util.tree_leaves_with_path(dict(variables)):
        yield tuple(key.key for key in keys)[1:], leaf


def _key(counterpart: Counterpart, path: Path) -> str:
    return f"{counterpart.rename(path[:-1])}.{ARRAYS[path[-1]]}"


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in _OIHW[len(shape)])


def _side_of_map(counterpart: Counterpart, path: Path) -> int:
    return counterpart.behind_map.get(path[-2], 0) if path[-1] == "kernel" else 0


def _check(
    name: str,
    given: Mapping[str, tuple[int, ...]],
    wanted: Mapping[str, tuple[int, ...]],
) -> None:
    """Checks that the keys are those of the network, and of its shapes."""
    faults = [
        (word, sorted(keys))
        for word, keys in (
            ("missing", wanted.keys() - given.keys()),
            ("left over", given.keys() - wanted.keys()),
        )
    ]
    misshapen = [
        f"{key} {given[key]} for {shape}"
        for key, shape in wanted.items()
        if given.get(key, shape) != shape
    ]
    faults.append(("misshapen", misshapen))
    told = [f"{word}: {', '.join(keys)}" for word, keys in faults if keys]
    if told:
        raise UsageError(
            f"{name}: not the weights of torchvision's {TORCHVISION[name].name}; "
            + "; ".join(told)
        )
