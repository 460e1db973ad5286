"""Finds the layers of a traced forward pass.

The walk visits the equations of the program in order. The name stack of an equation is
the path of its Flax module. Each value between equations carries the layer that made it
and its receptive field. So branches, shortcuts, padding and slices need no extra rules.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.extend import core

from cnn_arch.costs import operations
from cnn_arch.costs.operations import Count
from cnn_arch.costs.receptive_field import Seen, see
from cnn_arch.errors import UsageError

# Modules that count as one layer each, whatever they compute; but the activation of a
# locally connected layer is a layer, as a convolution's is.
WHOLE_MODULES = {
    "BatchNorm": "batch_norm",
    "LocalResponseNorm": "lrn",
    "MaxPool": "max_pool",
    "AvgPool": "avg_pool",
    "AdaptiveAvgPool": "avg_pool",
    "GlobalAvgPool": "global_avg_pool",
    "Dropout": "dropout",
    "Subsampling": "scale",
    "LocallyConnected": "local",
}
# Primitives that make a layer in any module.
LAYERS = {"conv_general_dilated": "conv", "dot_general": "dense"}
# Operations that make a row outside of these: its kind, and the end of its name.
JOINS = {
    "concatenate": ("concatenate", "concatenate"),
    "slice": ("subsample", "subsample"),
    "pad": ("subsample", "subsample"),
    "reduce_window_max": ("max_pool", "pool"),
    "reduce_window_sum": ("avg_pool", "pool"),
    "reduce_sum": ("global_avg_pool", "pool"),
}
LOOPS = "scan", "while"
# Elementwise primitives that identify an activation.
ACTIVATIONS = {"max": "relu", "tanh": "tanh", "logistic": "sigmoid"}


@dataclasses.dataclass(eq=False)
class Layer:
    """A layer; its fields are final after the walk."""

    path: str  # of the module
    kind: str
    label: str = ""  # of an operation that is not a module's layer, such as "relu"
    shape: tuple[int, ...] = ()
    dtype: Any = None
    seen: Seen = dataclasses.field(default_factory=Seen)
    inputs: list["Layer"] = dataclasses.field(default_factory=list)
    count: Count = dataclasses.field(default_factory=Count)


@dataclasses.dataclass(frozen=True)
class Value:
    """A value that depends on the image."""

    layer: Layer  # that made it
    seen: Seen


FIXED = "fixed"  # replaces a value that depends on parameters alone
Known = Value | str | None  # None: a constant, which JAX folds before XLA counts


class Walk:
    """Collects the layers of a program."""

    def __init__(self, classes: dict[str, str]):
        self.layers: list[Layer] = []  # in the order of the program
        # XLA's count of the whole. XLA adds float32 numbers in the order of the
        # program, which rounds totals beyond 2 ** 24.
        self.xla_flops = np.float32(0)
        self._classes = classes  # the class of each module by its path
        self._fixed: dict[str, Count] = {}  # costs that need no image, by path
        self._last: dict[str, Layer] = {}  # the last layer of each path

    def run(
        self, jaxpr: core.Jaxpr, known: Sequence[Known], prefix: str = ""
    ) -> list[Known]:
        """Walks through a jaxpr, from its inputs ``known`` to its outputs.

        ``prefix`` is the name stack of the equation that calls the jaxpr.
        """
        table: dict[Any, Known] = dict(zip(jaxpr.invars, known, strict=True))

        def look_up(variable: Any) -> Known:
            return None if isinstance(variable, core.Literal) else table.get(variable)

        for equation in jaxpr.eqns:
            own = str(equation.source_info.name_stack)
            stack = "/".join(part for part in (prefix, own) if part)
            inputs = [look_up(variable) for variable in equation.invars]
            inner = inner_jaxpr(equation)
            if inner is None:
                outputs = self._equation(equation, inputs, self._path(stack))
            elif equation.primitive.name in LOOPS:
                raise UsageError(
                    f"{stack}: has a loop, whose rounds are not counted; apply its "
                    "blocks one after the other"
                )
            else:  # the first input of a cond is the choice of its branch
                given = inputs[len(inputs) - len(inner.invars) :]
                before = np.float32(0)
                if not equation.primitive.name.startswith("custom_"):
                    # XLA sums a called function separately, then adds the sum.
                    before, self.xla_flops = self.xla_flops, before
                outputs = self.run(inner, given, stack)
                self.xla_flops += before
            table.update(zip(equation.outvars, outputs, strict=True))
        return [look_up(variable) for variable in jaxpr.outvars]

    def finish(self) -> list[Layer]:
        """Adds to each layer the costs of its module that need no image."""
        first = {layer.path: layer for layer in reversed(self.layers)}
        for path, count in self._fixed.items():
            first.get(path, self.layers[0]).count.add(count)
        return self.layers

    def _path(self, stack: str) -> str:
        """Turns a name stack, "AlexNet/conv1", into a module's path, "conv1"."""
        _, _, path = stack.partition("/")
        if path in self._classes:
            return path
        kept: list[str] = []
        for part in path.split("/"):
            part = part.partition(".")[0]  # without the method's name
            # A lifted module appears twice; a module that is traced by itself appears
            # by its name, and then by its class.
            if part not in (*kept[-1:], self._classes.get("/".join(kept))):
                kept.append(part)
        return "/".join(kept)

    def _equation(self, equation: Any, inputs: list[Known], path: str) -> list[Known]:
        name = equation.primitive.name
        flowing = [value for value in inputs if isinstance(value, Value)]
        if not flowing and FIXED not in inputs and not name.startswith("reduce_"):
            return [None] * len(equation.outvars)
        cost = operations.count(equation)
        self.xla_flops += np.float32(cost.xla_flops)
        kind = WHOLE_MODULES.get(self._classes.get(path, ""))
        # A batch's statistics depend on all of it; fields are counted for evaluation.
        statistics = kind == "batch_norm" and name.startswith("reduce_")
        if not flowing or statistics:
            self._fixed.setdefault(path, Count()).add(cost)
            return [FIXED] * len(equation.outvars)
        seen = see(
            equation,
            [value.seen if isinstance(value, Value) else None for value in inputs],
        )
        layer = self._choose(name, kind, inputs, path)
        if layer is None:  # data only moves, so the layer stays the same
            self._fixed.setdefault(path, Count()).add(cost)
            return [Value(flowing[0].layer, seen)] * len(equation.outvars)
        for value in flowing:
            if value.layer is not layer and value.layer not in layer.inputs:
                layer.inputs.append(value.layer)
        output = equation.outvars[0].aval
        layer.shape, layer.dtype, layer.seen = output.shape, output.dtype, seen
        layer.count.add(cost)
        return [Value(layer, seen)] * len(equation.outvars)

    def _choose(
        self, name: str, kind: str | None, inputs: list[Known], path: str
    ) -> Layer | None:
        """Returns the layer of a primitive, or None if it only moves data.

        ``kind`` is the entry of its module in ``WHOLE_MODULES``, or None.
        """
        layers = [value.layer for value in inputs if isinstance(value, Value)]
        previous = layers[-1]
        same_module = previous.path == path
        if kind and not (kind == "local" and name in ACTIVATIONS):
            return self._last.get(path) or self._open(path, kind)
        if name in LAYERS:
            return self._open(path, LAYERS[name])
        if name in JOINS:
            kind, label = JOINS[name]
            if same_module and previous.kind == kind == "subsample":
                return previous
            return self._open(path, kind, label)
        if name in operations.MOVES or name == "convert_element_type":
            return None
        if len(set(layers)) > 1:
            return self._open(path, name, name)
        if same_module and (FIXED in inputs or previous.kind == "global_avg_pool"):
            return previous  # a bias, or the division of a sum
        if not (same_module and previous.kind == "activation"):
            previous = self._open(path, "activation", name)
        previous.label = ACTIVATIONS.get(name, previous.label)
        return previous

    def _open(self, path: str, kind: str, label: str = "") -> Layer:
        layer = Layer(path, kind, label)
        self.layers.append(layer)
        self._last[path] = layer
        return layer


def inner_jaxpr(equation: Any) -> core.Jaxpr | None:
    """Returns the jaxpr that an equation calls, or None."""
    params = equation.params
    if equation.primitive.name == "cond":
        # The last branch of a choice by platform runs on every platform.
        return params["branches"][-1].jaxpr
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if key in params:
            return getattr(params[key], "jaxpr", params[key])
    return None
