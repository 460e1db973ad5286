"""A network's variables for evaluation: BatchNorm in the kernels, in their precision.

With its running statistics, BatchNorm multiplies each map by a number and adds another.
A convolution with the kernel times that number, and the other one as a bias, has the
same output; XLA then lets oneDNN add the bias, the shortcut and the ReLU in the same
pass over the maps. In ResNet-20's forward pass 5 loops over maps are left of 41, so it
compiles in 0.3 s instead of 1.7; benchmarks/README.md has the times of a pass.

In bfloat16, kernels are rounded once, and not in each pass, which was half the time of
``alexnet_owt`` with one image, and a third of that of VGG-16 (two cores with AMX).
"""

from collections import Counter, defaultdict
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.extend import core

from cnn_arch.models.layers import BatchNorm, Conv, Dense
from cnn_arch.ops.platform import plain_forms

Variables = Any  # {"params": ..., "batch_stats": ...}
Path = tuple[str, ...]


class Pair(NamedTuple):
    """A BatchNorm layer, and the convolution whose output is its input."""

    norm: Path
    conv: Path
    epsilon: float  # that the layer adds to the variance


class Plan(NamedTuple):
    """What changes in the variables of a network."""

    pairs: tuple[Pair, ...]
    bfloat16: tuple[Path, ...]  # convolutions and dense layers that compute in it


class Folding:
    """Folds BatchNorm layers into convolutions, and rounds kernels to bfloat16."""

    def __init__(self, model: nn.Module, image_shape: tuple[int, int, int]):
        """Traces nothing yet; ``image_shape`` is [H, W, C]."""
        self._model, self._shape = model, image_shape
        self._plan: Plan | None = None

    def __call__(self, variables: Variables, keep: str = "") -> Variables:
        """Returns variables with which the network, in evaluation, is the same.

        Of a layer that is folded, BatchNorm keeps only ``bias``, or nothing if the
        convolution has one. Layers that do not follow a convolution stay as they are,
        and so does the convolution with the path ``keep``, whose output is wanted. The
        kernels of convolutions and dense layers that compute in bfloat16 are in it.
        """
        if self._plan is None:
            self._plan = find_plan(self._model, variables, self._shape)
        pairs, bfloat16 = self._plan
        pairs = tuple(pair for pair in pairs if "/".join(pair.conv) != keep)
        if not pairs and not bfloat16:
            return variables
        return _fold(Plan(pairs, bfloat16), variables)


def find_plan(
    model: nn.Module, variables: Variables, image_shape: tuple[int, int, int]
) -> Plan:
    """Returns what changes in a network's variables, from a trace of its forward pass.

    A convolution whose output has another reader, such as a shortcut, is in no pair;
    nor is one with an activation, or one that is used twice.
    """
    outputs: dict[int, tuple[Path, Any]] = {}  # of convolutions, by identity
    pairs: dict[Pair, None] = {}  # a loop may trace a layer more than once
    bfloat16: dict[Path, None] = {}

    def watch(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        y, module = call(*args, **kwargs), context.module
        if isinstance(module, Conv | Dense) and module.dtype == jnp.bfloat16:
            bfloat16[module.path] = None
        if isinstance(module, Conv) and not module.activation:
            y = checkpoint_name(y, "/".join(module.path))
            outputs[id(y)] = module.path, y  # kept, so that no other has its identity
        elif isinstance(module, BatchNorm) and id(args[0]) in outputs:
            conv, _ = outputs[id(args[0])]
            pairs[Pair(module.path, conv, module.epsilon)] = None
        return y

    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    with nn.intercept_methods(watch), plain_forms():
        program = jax.make_jaxpr(partial(model.apply, train=False))(variables, image)
    readers = _readers(program.jaxpr)
    found = tuple(pair for pair in pairs if readers["/".join(pair.conv)] == [1])
    return Plan(found, tuple(bfloat16))


def _readers(jaxpr: core.Jaxpr) -> defaultdict[str, list[int]]:
    """Returns how often each named value is read, by its name."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    read = Counter(
        variable
        for variables in (*(each.invars for each in jaxpr.eqns), jaxpr.outvars)
        for variable in variables
        if not isinstance(variable, core.Literal)
    )
    for equation in jaxpr.eqns:
        if equation.primitive.name == "name":
            found[equation.params["name"]].append(read[equation.outvars[0]])
        for inner in jax.tree.leaves(list(equation.params.values())):
            inner = getattr(inner, "jaxpr", inner)  # closed ones have constants
            if isinstance(inner, core.Jaxpr):
                for name, counts in _readers(inner).items():
                    found[name] += counts
    return found


def fold(plan: Plan, variables: Variables) -> Variables:
    """Returns the variables of ``Folding``."""
    params: Any = flatten_dict(variables["params"])
    statistics: Any = flatten_dict(variables.get("batch_stats", {}))
    for norm, conv, epsilon in plan.pairs:
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
    for layer in plan.bfloat16:
        params[*layer, "kernel"] = params[*layer, "kernel"].astype(jnp.bfloat16)
    changed = {"params": params, "batch_stats": statistics}
    nested = {key: unflatten_dict(changed[key]) for key in changed if key in variables}
    return {**variables, **nested}


_fold = jax.jit(fold, static_argnums=0)
