"""What is inside a network: its layers with weights, and their responses."""

from typing import Any

import jax
from flax import linen as nn
from flax.traverse_util import flatten_dict

from cnn_arch.models import init_variables

Layer = tuple[str, ...]  # the path of a layer: ("conv2_1", "conv1")


def is_auxiliary(layer: Layer) -> bool:
    """Whether a layer is in an auxiliary head."""
    return "/".join(layer).startswith("aux")


def kernel_layers(model: nn.Module, image_size: int, channels: int) -> list[Layer]:
    """Returns the layers with a kernel, in the order of the forward pass.

    Those of auxiliary heads are last. The model has no loops over blocks: see
    ``build_model``.
    """
    called: dict[Layer, None] = {}

    def note(next_function, args, kwargs, context):
        called.setdefault(context.module.path)
        return next_function(*args, **kwargs)

    with nn.intercept_methods(note):
        variables = jax.eval_shape(
            lambda key: init_variables(model, key, image_size, channels),
            jax.random.key(0),
        )
    params: Any = flatten_dict(variables["params"])
    found = [layer for layer in called if (*layer, "kernel") in params]
    return sorted(found, key=is_auxiliary)
