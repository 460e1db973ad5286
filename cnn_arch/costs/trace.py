"""Traces a network's forward pass, from which its costs are counted."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnn_arch.models import init_variables
from cnn_arch.models.inception_v4 import InceptionA, InceptionB, InceptionC
from cnn_arch.models.layers import ConvBN
from cnn_arch.models.resnet import BasicBlock, Bottleneck
from cnn_arch.ops.platform import plain_forms

# Blocks that differ only in their parameters are traced once. One by one, the 600
# blocks of ResNet-1202 take seven seconds. XLA sums a block that is traced once
# separately, too, and so rounds its sum for the whole network less.
SHARED = (BasicBlock, Bottleneck, InceptionA, InceptionB, InceptionC)


def trace_layers(
    model: nn.Module, variables: Any, image: jax.ShapeDtypeStruct, *, train: bool
) -> tuple[Any, dict[str, str]]:
    """Traces a forward pass in its plain form; computes and compiles nothing.

    Args:
      model: the network.
      variables: their shapes, from ``variable_shapes``.
      image: the shape [B, H, W, C] and type of the images.
      train: adds auxiliary heads, dropout and the batch's own statistics.

    Returns:
      The traced function of (variables, images), which can be lowered; and the class of
      each module by its path, such as ``{"conv2_1/bn1": "BatchNorm"}``.
    """
    if getattr(model, "batch_norm_axis", None):  # here there are no devices
        model = model.clone(batch_norm_axis=None)

    def forward(variables: Any, image: jax.Array):
        rngs = {"dropout": jax.random.key(0)} if train else {}
        kept = ["batch_stats", "aux_logits"] if train else False
        return model.apply(variables, image, train=train, rngs=rngs, mutable=kept)

    tracer = _Tracer(train)
    with nn.intercept_methods(tracer.call), plain_forms():
        traced = jax.jit(forward).trace(variables, image)
    return traced, tracer.classes


def variable_shapes(model: nn.Module, image_size: int, channels: int) -> Any:
    """Returns the shapes of a model's variables; traces equal blocks once.

    Args:
      model: the network.
      image_size: side of the square image, px.
      channels: 1 or 3.
    """
    twins: list[tuple[tuple[str, ...], tuple[str, ...]]] = []  # paths: block, its equal
    seen: dict[Any, tuple[Any, tuple[str, ...]]] = {}

    def skip_twins(next_function, args, kwargs, context):
        module = context.module
        _draw_nothing(module)
        if type(module) not in (*SHARED, ConvBN) or len(args) != 1:
            return next_function(*args, **kwargs)
        key = _key(module, args[0])
        if key not in seen:
            output = next_function(*args, **kwargs)
            seen[key] = jax.typeof(output), module.path
            return output
        output, first = seen[key]
        twins.append((module.path, first))
        return jnp.zeros(output.shape, output.dtype)

    with nn.intercept_methods(skip_twins), plain_forms():
        variables = jax.eval_shape(
            lambda key: init_variables(model, key, image_size, channels),
            jax.random.key(0),
        )
    for path, first in twins:
        for collection in variables.values():
            equal, own = collection, collection
            for name in first:
                equal = equal.get(name, {})
            if equal:
                for name in path[:-1]:
                    own = own.setdefault(name, {})
                own[path[-1]] = equal
    return variables


class _Tracer:
    """Notes each module's class, and traces equal blocks once."""

    def __init__(self, train: bool):
        self.classes: dict[str, str] = {}
        self._train = train
        self._inside: tuple[str, ...] = ()  # path of the block traced by itself
        self._blocks: dict[Any, tuple[Any, tuple[str, ...]]] = {}

    def call(self, next_function, args, kwargs, context):
        """Replaces every method of every module."""
        module = context.module
        _trust_shapes(module)
        path = (*self._inside, *module.path)
        self.classes["/".join(path)] = type(module).__name__
        if self._train or self._inside or not _is_shared(module, args):
            return next_function(*args, **kwargs)
        key = _key(module, args[0])
        if key not in self._blocks:
            alone = module.clone(parent=None, name=None)
            self._blocks[key] = jax.jit(alone.apply), path
        apply, first = self._blocks[key]
        if path == first:
            self._inside = path
        output = apply(module.variables, args[0])
        self._inside = ()
        prefix, own_prefix = "/".join(first) + "/", "/".join(path) + "/"
        for name, kind in list(self.classes.items()):
            if name.startswith(prefix):
                self.classes[name.replace(prefix, own_prefix, 1)] = kind
        return output


def _draw_nothing(module: nn.Module) -> None:
    """Replaces the random initial values of a module's weights by zeros.

    Tracing the random draws takes longer than tracing the layers.
    """
    if hasattr(module, "kernel_init"):  # modules are frozen
        object.__setattr__(module, "kernel_init", nn.initializers.zeros)


def _trust_shapes(module: nn.Module) -> None:
    """Takes a module's parameters as they are.

    Flax would trace their initial values again, to compare the shapes. They are right
    here: ``variable_shapes`` has them from the same module.
    """
    scope = module.scope

    def param(name: str, *args: Any, unbox: bool = True, **kwargs: Any) -> Any:
        assert scope
        if not scope.has_variable("params", name):  # raise Flax's error
            return type(scope).param(scope, name, *args, unbox=unbox, **kwargs)
        scope.reserve(name, "params")
        value = scope.get_variable("params", name)
        return nn.meta.unbox(value) if unbox else value

    object.__setattr__(scope, "param", param)


def _is_shared(module: nn.Module, args: tuple[Any, ...]) -> bool:
    return type(module) in SHARED and len(args) == 1


def _key(module: nn.Module, x: jax.Array) -> Any:
    """Returns a value that is the same for equal blocks."""
    fields = (
        getattr(module, field.name)
        for field in dataclasses.fields(module)
        if field.name not in ("parent", "name")
    )
    return type(module), *fields, x.shape, x.dtype
