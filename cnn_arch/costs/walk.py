"""From a traced forward pass to the layers that it consists of.

The walk goes through the equations of the program in their order. The name stack of an
equation is the path of the Flax module that it stems from; what flows from equation to
equation carries the layer that made it and what it sees of the image. So branches,
shortcuts, padding and slices need no rules of their own.
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

# Modules that are one layer each, whatever they compute.
WHOLE_MODULES = {
    "BatchNorm": "batch_norm",
    "LocalResponseNorm": "lrn",
    "MaxPool": "max_pool",
    "AvgPool": "avg_pool",
    "AdaptiveAvgPool": "avg_pool",
    "GlobalAvgPool": "global_avg_pool",
    "Dropout": "dropout",
    "Subsampling": "scale",
}
# The layer that a primitive makes, in whatever module.
LAYERS = {"conv_general_dilated": "conv", "dot_general": "dense"}
# What a module computes besides its layers, and how the row is called.
JOINS = {
    "concatenate": ("concatenate", "concatenate"),
    "slice": ("subsample", "subsample"),
    "pad": ("subsample", "subsample"),
    "reduce_window_max": ("max_pool", "pool"),
    "reduce_window_sum": ("avg_pool", "pool"),
    "reduce_sum": ("global_avg_pool", "pool"),
}
LOOPS = "scan", "while"
# Elementwise primitives by which an activation is known.
ACTIVATIONS = {"max": "relu", "tanh": "tanh", "logistic": "sigmoid"}


@dataclasses.dataclass(eq=False)
class Layer:
    """A layer, complete after the walk."""

    path: str  # of the module
    kind: str
    label: str = ""  # of what a module computes besides its layers, such as "relu"
    shape: tuple[int, ...] = ()
    dtype: Any = None
    seen: Seen = dataclasses.field(default_factory=Seen)
    inputs: list["Layer"] = dataclasses.field(default_factory=list)
    count: Count = dataclasses.field(default_factory=Count)


@dataclasses.dataclass(frozen=True)
class Value:
    """What flows: the layer that made it, and what it sees of the image."""

    layer: Layer
    seen: Seen


FIXED = "fixed"  # stands in for what depends on parameters alone
Known = Value | str | None  # None: a constant, which is folded before XLA counts


class Walk:
    """Collects the layers of a program.

    Attributes:
      layers: in the order of the program.
      xla_flops: what XLA will say of the whole: it adds float32 numbers in the order
        of the program, which rounds totals beyond 2 ** 24.
    """

    def __init__(self, classes: dict[str, str]):
        """Takes the class of each module by its path."""
        self.layers: list[Layer] = []
        self.xla_flops = np.float32(0)
        self._classes = classes
        self._fixed: dict[str, Count] = {}  # what needs no image, by path
        self._last: dict[str, Layer] = {}  # of each path

    def run(
        self, jaxpr: core.Jaxpr, known: Sequence[Known], prefix: str = ""
    ) -> list[Known]:
        """Walks through a jaxpr.

        Args:
          jaxpr: the program, or a part of it.
          known: what its inputs are.
          prefix: the name stack outside.

        Returns:
          What its outputs are.
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
            else:  # a cond has its choice before what the branches take
                given = inputs[len(inputs) - len(inner.invars) :]
                before = self.xla_flops
                if is_call := not equation.primitive.name.startswith("custom_"):
                    self.xla_flops = np.float32(0)
                outputs = self.run(inner, given, stack)
                if is_call:  # it is added up by itself
                    self.xla_flops += before
            table.update(zip(equation.outvars, outputs, strict=True))
        return [look_up(variable) for variable in jaxpr.outvars]

    def finish(self) -> list[Layer]:
        """Adds to each layer what its module computes without the image."""
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
            part = part.partition(".")[0]  # a method follows its module
            # A lifted module stands there twice; one that is traced on its own stands
            # once by its name, and then by its class.
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
        # A batch's statistics see all of it; fields are those of test time.
        statistics = kind == "batch_norm" and name.startswith("reduce_")
        if not flowing or statistics:
            self._fixed.setdefault(path, Count()).add(cost)
            return [FIXED] * len(equation.outvars)
        seen = see(
            equation,
            [value.seen if isinstance(value, Value) else None for value in inputs],
        )
        layer = self._choose(name, kind, inputs, path)
        if layer is None:  # data only moves: still the layer that made it
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
        """Returns the layer that an equation belongs to; None: to none.

        Args:
          name: of its primitive.
          kind: of the layer that its module is as a whole, if it is one.
          inputs: what its operands are.
          path: of its module.
        """
        layers = [value.layer for value in inputs if isinstance(value, Value)]
        previous = layers[-1]
        goes_on = previous.path == path
        if kind:
            return self._last.get(path) or self._open(path, kind)
        if name in LAYERS:
            return self._open(path, LAYERS[name])
        if name in JOINS:
            kind, label = JOINS[name]
            if goes_on and previous.kind == kind == "subsample":
                return previous
            return self._open(path, kind, label)
        if name in operations.MOVES or name == "convert_element_type":
            return None
        if len(set(layers)) > 1:
            return self._open(path, name, name)
        if goes_on and (FIXED in inputs or previous.kind == "global_avg_pool"):
            return previous  # a bias, or the division of a sum
        if not (goes_on and previous.kind == "activation"):
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
        # A choice by platform ends with the form that every platform can run.
        return params["branches"][-1].jaxpr
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if key in params:
            return getattr(params[key], "jaxpr", params[key])
    return None
