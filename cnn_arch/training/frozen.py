"""Layers that do not learn: chosen by their names, and kept bit for bit."""

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict
from jax import lax
from jax.tree_util import DictKey, tree_map_with_path
from ml_collections import ConfigDict

from cnn_arch import hints
from cnn_arch.errors import UsageError
from cnn_arch.units import counted

Layer = tuple[str, ...]  # the path of a layer: ("conv2_1", "bn1")


def describe(config: ConfigDict) -> str:
    """Returns which layers do not learn, or learn slowly; "" if all learn alike."""
    parts = []
    if config.freeze_epochs:
        parts.append(f"the head alone for {counted(config.freeze_epochs, 'epoch')}")
    if config.freeze:
        parts.append(f"frozen: {' '.join(config.freeze)}")
    if config.optim.body_rate != 1.0:
        parts.append(f"the body at {config.optim.body_rate:g} times the rate")
    return "; ".join(parts)


def all_layers(params: Any) -> frozenset[Layer]:
    """Returns the paths of all layers that have parameters."""
    flat: Any = flatten_dict(params)
    return frozenset(path[:-1] for path in flat)


def find_layers(patterns: Sequence[str], params: Any) -> frozenset[Layer]:
    """Returns the layers that ``freeze`` names, or that are in a block that it names.

    In a pattern, ``*`` is any part of a name: ``conv2_*`` names the blocks of a stage.

    Raises:
      UsageError: a pattern names no layer, or no layer is left to train.
    """
    layers = all_layers(params)
    # A layer, and the blocks around it: conv2_1/bn1, conv2_1.
    names = {
        layer: ["/".join(layer[:end]) for end in range(1, len(layer) + 1)]
        for layer in layers
    }
    chosen: set[Layer] = set()
    for pattern in patterns:
        found = {
            layer
            for layer in layers
            if any(fnmatchcase(name, pattern) for name in names[layer])
        }
        if not found:
            known = dict.fromkeys(name for layer in layers for name in names[layer])
            raise UsageError(
                f"--config.freeze={pattern}: no such layer; "
                f"{hints.choose(pattern, sorted(known))}"
            )
        chosen |= found
    if chosen == layers:
        raise UsageError(
            f"--config.freeze={','.join(patterns)}: no layer is left to train; name "
            "fewer layers"
        )
    return frozenset(chosen)


def stop_gradients(layers: Collection[Layer], params: Any) -> Any:
    """Returns the parameters as constants in the given layers.

    The backward pass then ends at the first layer that learns.
    """

    def visit(path: Any, leaf: Any) -> Any:
        return lax.stop_gradient(leaf) if _layer(path) in layers else leaf

    return tree_map_with_path(visit, params) if layers else params


def keep(layers: Collection[Layer], new: Any, old: Any) -> Any:
    """Returns the new tree with the old leaves of the given layers.

    The trees are of parameters, of statistics, or the optimizer's, which contains trees
    of parameters.
    """

    def visit(path: Any, new: Any, old: Any) -> Any:
        return old if _layer(path) in layers else new

    return tree_map_with_path(visit, new, old) if layers else new


def marks(layers: Collection[Layer]) -> dict[str, Any]:
    """Returns the collection that puts BatchNorm of the layers in evaluation mode."""
    flat = {("frozen", *layer, "is_frozen"): True for layer in layers}
    return unflatten_dict(flat)


def _layer(path: Any) -> Layer:
    return tuple(part.key for part in path if isinstance(part, DictKey))[:-1]
