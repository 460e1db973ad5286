"""Makes the network of a config, and checks that it suits devices and images."""

import bisect
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from cnn_arch.errors import UsageError
from cnn_arch.models import create_model, init_variables
from cnn_arch.ops.platform import plain_forms
from cnn_arch.ops.split import ALL as AXES


def build_model(config: ConfigDict, num_classes: int, *, loops: bool = True):
    """Makes the network that the config names, for use inside the step.

    With ``loops``, it follows ``scan_blocks`` and ``remat``; else it has no loops.

    Raises:
      UsageError: there is no such network, it has no blocks for a loop, or so many
        devices cannot share it.
    """
    fields = dict(config.model.fields, dtype=jnp.dtype(config.precision))
    model: Any = create_model(config.model.name, num_classes, **fields)
    for field, setting in (("scan", "scan_blocks"), ("remat", "remat")):
        if loops and config[setting]:
            if not hasattr(model, field):
                raise UsageError(
                    f"--config.{setting}=true: {config.model.name} does not consist "
                    "of equal blocks; only the residual networks do"
                )
            model = model.clone(**{field: True})
    if config.batch_norm_statistics == "global" and hasattr(model, "batch_norm_axis"):
        axes = AXES if config.mesh.model > 1 else "data"
        model = model.clone(batch_norm_axis=axes)
    _check_split(config, model)
    return model


def head_layers(config: ConfigDict, num_classes: int) -> set[tuple[str, ...]]:
    """Returns the paths of the layers whose size depends on the number of classes.

    They compute the logits, in auxiliary heads too.
    """
    sizes = []
    for number in (num_classes, num_classes + 1):
        model = build_model(config, number, loops=False)
        params: Any = flatten_dict(variable_shapes(model, config.data)["params"])
        sizes.append({path: leaf.shape for path, leaf in params.items()})
    return {path[:-1] for path in sizes[0] if sizes[0][path] != sizes[1][path]}


def variable_shapes(model: nn.Module, data: ConfigDict) -> Any:
    """Returns the shapes of the variables of a network for the images of a recipe."""
    # The key is made inside: outside, it would open the devices.
    return jax.eval_shape(
        lambda: init_variables(model, jax.random.key(0), data.image_size, data.channels)
    )


def _check_split(config: ConfigDict, model: Any) -> None:
    num_parts, name = config.mesh.model, config.model.name
    given = f"--config.mesh.model={num_parts}"
    if num_parts > 1 and not hasattr(model, "split_layers"):
        raise UsageError(
            f"{given}: {name} cannot be split, only the AlexNets and the VGGs can; "
            "write --config.mesh.model=1"
        )
    if num_parts > 1 and getattr(model, "norm_across_groups", False):
        raise UsageError(
            f"{given}: norm_across_groups needs the maps of all devices; write "
            "--config.mesh.model=1"
        )
    groups = getattr(model, "groups", num_parts)
    if groups % num_parts:
        raise UsageError(
            f"{given}: must divide the groups of {name}, {groups}; write "
            f"--config.mesh.model={groups} or --config.model.fields.groups={num_parts}"
        )


def _empty_layer(model: nn.Module, image_size: int, channels: int) -> str | None:
    """Returns the first layer whose output is empty at this image size, or None."""
    empty = []

    def note_empty(next_function, args, kwargs, context):
        output = next_function(*args, **kwargs)
        if any(0 in jnp.shape(leaf) for leaf in jax.tree.leaves(output)):
            empty.append("/".join(context.module.path))
            raise ValueError("an empty feature map")
        return output

    image = jax.ShapeDtypeStruct((1, image_size, image_size, channels), jnp.float32)
    try:
        with nn.intercept_methods(note_empty), plain_forms():
            jax.eval_shape(
                lambda image: model.init(jax.random.key(0), image, train=False), image
            )
    except (ValueError, ZeroDivisionError):
        return empty[0] if empty else "its first layer"
    return None


def check_image_size(
    model: nn.Module,
    name: str,
    image_size: int,
    channels: int,
    option: str = "--config.data.image_size",
) -> None:
    """Checks that no feature map is empty for square images of this size, px.

    Args:
      model: the network.
      name: of the network, for the message.
      image_size: side of the image, px.
      channels: 1 or 3.
      option: the option with which the user sets the size, for the message.

    Raises:
      UsageError: a map is empty; names its layer and the smallest size that works.
    """
    layer = _empty_layer(model, image_size, channels)
    if layer is None:
        return

    def suits(size: int) -> bool:
        return _empty_layer(model, size, channels) is None

    # Tracing takes a second in the largest networks: double the step, then bisect.
    step = next(2**power for power in range(10) if suits(image_size + 2**power))
    between = range(image_size + step // 2 + 1, image_size + step)
    smallest = between.start + bisect.bisect_left(between, True, key=suits)
    raise UsageError(
        f"{option}={image_size}: {name} needs at least {smallest} px "
        f"({layer} would be empty)"
    )


def check_other_size(model: nn.Module, name: str, data: ConfigDict) -> None:
    """Checks that a network takes images of data.eval_size, too.

    Raises:
      UsageError: a map is empty, or parameters have other shapes at that size.
    """
    option = "--config.data.eval_size"
    check_image_size(model, name, data.eval_size, data.channels, option)
    other = ConfigDict(data).copy_and_resolve_references()
    other.image_size = data.eval_size
    if variable_shapes(model, other) != variable_shapes(model, data):
        raise UsageError(
            f"{option}={data.eval_size}: {name} has dense layers for images of "
            f"{data.image_size} px only; leave it 0"
        )
