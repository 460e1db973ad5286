"""BatchNorm in the convolutions before it, for evaluation.

With its running statistics, BatchNorm multiplies each map by a number and adds another.
A convolution with the kernel times that number, and the other one as a bias, has the
same output; XLA then lets oneDNN add the bias, the shortcut and the ReLU in the same
pass over the maps. In ResNet-20's forward pass 5 loops over maps are left of 41, so it
compiles in 0.3 s instead of 1.7; benchmarks/README.md has the times of a pass.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import lax

from cnn_arch.models.layers import BatchNorm, Conv
from cnn_arch.ops.platform import plain_forms

Variables = Any  # {"params": ..., "batch_stats": ...}
Path = tuple[str, ...]


class Pair(NamedTuple):
    """A BatchNorm layer, and the convolution whose output is its input."""

    norm: Path
    conv: Path
    epsilon: float  # that the layer adds to the variance


class Folding:
    """Folds the BatchNorm layers of a network into its convolutions."""

    def __init__(self, model: nn.Module, image_shape: tuple[int, int, int]):
        """Traces nothing yet; ``image_shape`` is [H, W, C]."""
        self._model, self._shape = model, image_shape
        self._pairs: tuple[Pair, ...] | None = None

    def __call__(self, variables: Variables, keep: str = "") -> Variables:
        """Returns variables with which the network, in evaluation, is the same.

        Of a layer that is folded, BatchNorm keeps only ``bias``, or nothing if the
        convolution has one. Layers that do not follow a convolution stay as they are,
        and so does the convolution with the path ``keep``, whose output is wanted.
        Shapes (jax.ShapeDtypeStruct) give shapes.
        """
        if not variables.get("batch_stats"):
            return variables
        if self._pairs is None:
            self._pairs = find_pairs(self._model, variables, self._shape)
        pairs = tuple(pair for pair in self._pairs if "/".join(pair.conv) != keep)
        leaves = jax.tree.leaves(variables)
        if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves):
            return jax.eval_shape(partial(fold_pairs, pairs), variables)
        return _fold(pairs, variables)


def find_pairs(
    model: nn.Module, variables: Variables, image_shape: tuple[int, int, int]
) -> tuple[Pair, ...]:
    """Returns the pairs of a network, found in a trace of its forward pass."""
    outputs: dict[int, tuple[Path, Any]] = {}  # of convolutions, by identity
    pairs: dict[Pair, None] = {}  # a loop may trace a layer more than once

    def watch(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        y, module = call(*args, **kwargs), context.module
        if isinstance(module, Conv):
            outputs[id(y)] = module.path, y  # kept, so that no other has its identity
        elif isinstance(module, BatchNorm) and id(args[0]) in outputs:
            conv, _ = outputs[id(args[0])]
            pairs[Pair(module.path, conv, module.epsilon)] = None
        return y

    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    with nn.intercept_methods(watch), plain_forms():
        jax.eval_shape(lambda v, x: model.apply(v, x, train=False), variables, image)
    return tuple(pairs)


def fold_pairs(pairs: tuple[Pair, ...], variables: Variables) -> Variables:
    """Returns the variables of ``Folding``."""
    params: Any = flatten_dict(variables["params"])
    statistics: Any = flatten_dict(variables["batch_stats"])
    for norm, conv, epsilon in pairs:
        mean, variance = (statistics.pop((*norm, key)) for key in ("mean", "var"))
        scale = params.pop((*norm, "scale")) * lax.rsqrt(variance + epsilon)
        bias = params.pop((*norm, "bias")) - mean * scale
        # A loop's blocks are along the first axis of its arrays.
        spread = jnp.expand_dims(scale, (-4, -3, -2))
        params[*conv, "kernel"] = params[*conv, "kernel"] * spread
        if (*conv, "bias") in params:
            params[*conv, "bias"] = params[*conv, "bias"] * scale + bias
        else:
            params[*norm, "bias"] = bias
    return {
        **variables,
        "params": unflatten_dict(params),
        "batch_stats": unflatten_dict(statistics),
    }


_fold = jax.jit(fold_pairs, static_argnums=0)
