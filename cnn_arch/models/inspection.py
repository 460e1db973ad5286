"""What is inside a network: its layers with weights, and their responses."""

from typing import Any

import jax
from flax import linen as nn
from flax.traverse_util import flatten_dict

from cnn_arch.errors import UsageError
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


def responses(model: nn.Module, variables: Any, image: jax.Array) -> dict[str, Any]:
    """Returns the response of each 3x3 convolution, in the order of the forward pass.

    A response is the layer's output "after BN and before other nonlinearity
    (ReLU/addition)" (He et al. 2015, "Deep Residual Learning", Section 4.2), float
    [B, H, W, C] by the path of the convolution, such as ``conv2_1/conv1``. The network
    is in evaluation mode, so BatchNorm has its running statistics, and has no loops
    over blocks.

    Args:
      model: the network.
      variables: parameters and statistics.
      image: normalised, [B, H, W, C].

    Raises:
      UsageError: there is no such layer, or one applies its activation itself.
    """
    found: dict[str, Any] = {}

    def note(next_function, args, kwargs, context):
        output, module = next_function(*args, **kwargs), context.module
        if context.method_name != "__call__":
            return output
        name = "/".join(module.path)
        if getattr(module, "kernel_size", None) in (3, (3, 3), [3, 3]):
            if getattr(module, "activation", None):
                raise UsageError(
                    f"{name}: its activation is part of it, so its response cannot be "
                    "seen; only networks like the residual and plain ones are measured"
                )
            found[name] = output
        elif "BatchNorm" in type(module).__name__:
            # It normalises a response if its input is that very array.
            found.update({key: output for key, x in found.items() if x is args[0]})
        return output

    with nn.intercept_methods(note):
        model.apply(variables, image, train=False)
    if not found:
        raise UsageError(f"{type(model).__name__}: has no 3x3 convolution to measure")
    return found
