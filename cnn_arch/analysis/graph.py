"""From a traced forward pass to the layers that it consists of.

The walk goes through the equations of the program in their order. The name stack of an
equation is the path of the Flax module that it stems from; what flows from equation to
equation carries the layer that made it and its receptive field. So branches, shortcuts,
padding and slices need no rules of their own.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from jax.extend import core

from cnn_arch.analysis import operations
from cnn_arch.analysis.operations import Count
from cnn_arch.analysis.receptive import Span, in_a_row, join

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
# Elementwise primitives by which an activation is known.
ACTIVATIONS = {"max": "relu", "tanh": "tanh", "logistic": "sigmoid"}


@dataclasses.dataclass(eq=False)
class Layer:
    """A layer while it is being found; names and costs are final after the walk."""

    path: str  # of the module
    kind: str
    label: str = ""  # of what a module computes besides its layers, such as "relu"
    shape: tuple[int, ...] = ()
    dtype: Any = None
    spans: tuple[Span, Span] = (Span(), Span())
    inputs: list["Layer"] = dataclasses.field(default_factory=list)
    count: Count = dataclasses.field(default_factory=Count)


@dataclasses.dataclass(frozen=True)
class Value:
    """What flows: the layer that made it, and what it sees of the image.

    ``axes`` are its vertical and horizontal axis; None once it has none.
    """

    layer: Layer
    spans: tuple[Span, Span]
    axes: tuple[int | None, int | None]


FIXED = "fixed"  # stands in for what depends on parameters alone
Known = Value | str | None  # None: a constant, which is folded before XLA counts


class Walk:
    """Collects the layers of a program."""

    def __init__(self, classes: dict[str, str]):
        """Takes the class of each module by its path."""
        self._classes = classes
        self._constants: dict[str, Count] = {}  # what needs no image, by path
        self._repeat = ""  # of a scan's body: "[3]"
        self.order: list[Count] = []
        self.layers: list[Layer] = []

    def run(self, jaxpr: core.Jaxpr, known: Sequence[Known], prefix: str = ""):
        """Walks through a jaxpr; returns what is known of its outputs."""
        table: dict[Any, Known] = dict(zip(jaxpr.invars, known, strict=True))

        def look_up(variable: Any) -> Known:
            return None if isinstance(variable, core.Literal) else table.get(variable)

        for equation in jaxpr.eqns:
            own = str(equation.source_info.name_stack)
            stack = "/".join(part for part in (prefix, own) if part)
            inputs = [look_up(variable) for variable in equation.invars]
            inner = _inner(equation)
            if inner is None:
                outputs = self._equation(equation, inputs, _path(stack))
            elif equation.primitive.name == "scan":
                outputs = self._scan(equation, inner, inputs, stack)
            else:
                given = inputs[len(inputs) - len(inner.invars) :]
                outputs = self.run(inner, given, stack)
            table.update(zip(equation.outvars, outputs, strict=True))
        return [look_up(variable) for variable in jaxpr.outvars]

    def finish(self) -> list[Layer]:
        """Adds to each layer what its module computes without the image."""
        for path, count in self._constants.items():
            inside = [layer for layer in self.layers if layer.path == path]
            (inside or self.layers)[0].count.add(count)
        return self.layers

    def _scan(self, equation: Any, inner: Any, inputs: list[Known], stack: str):
        """Repeats the body: consts, carry, then a slice of each stacked input."""
        params = equation.params
        consts, carries = params["num_consts"], params["num_carry"]
        fixed, rest = inputs[:consts], inputs[consts + carries :]
        carry, outputs = inputs[consts : consts + carries], []
        outer = self._repeat
        for index in range(params["length"]):
            self._repeat = f"{outer}[{index + 1}]"
            outputs = self.run(inner, [*fixed, *carry, *rest], stack)
            carry = outputs[:carries]
        self._repeat = outer
        return outputs

    def _equation(self, equation: Any, inputs: list[Known], path: str) -> list[Known]:
        path += self._repeat
        cost = operations.count(equation)
        flowing = [value for value in inputs if isinstance(value, Value)]
        if not flowing:
            reduces = equation.primitive.name.startswith("reduce_")
            if FIXED not in inputs and not reduces:
                return [None] * len(equation.outvars)
            self.order.append(cost)
            self._constants.setdefault(path, Count()).add(cost)
            return [FIXED] * len(equation.outvars)
        self.order.append(cost)
        kind = WHOLE_MODULES.get(self._classes.get(path.partition("[")[0], ""))
        name = equation.primitive.name
        if kind == "batch_norm" and name.startswith("reduce_"):
            # A batch's statistics see all of it; fields are those of test time.
            self._constants.setdefault(path, Count()).add(cost)
            return [FIXED] * len(equation.outvars)
        spans, axes = see(equation, inputs)
        layer = self._choose(name, kind, inputs, flowing, path)
        if layer is None:  # data only moves: still the layer that made it
            self._constants.setdefault(path, Count()).add(cost)
            return [Value(flowing[0].layer, spans, axes)] * len(equation.outvars)
        for value in flowing:
            if value.layer is not layer and value.layer not in layer.inputs:
                layer.inputs.append(value.layer)
        output = equation.outvars[0].aval
        layer.shape, layer.dtype, layer.spans = output.shape, output.dtype, spans
        layer.count.add(cost)
        return [Value(layer, spans, axes)] * len(equation.outvars)

    def _choose(
        self,
        name: str,
        kind: str | None,
        inputs: list[Known],
        flowing: list[Value],
        path: str,
    ) -> Layer | None:
        """Returns the layer that an equation belongs to; None: to none.

        Args:
          name: of its primitive.
          kind: of the layer that its module is as a whole, if it is one.
          inputs: what is known of its operands.
          flowing: those of them that depend on the image.
          path: of its module.
        """
        last = flowing[-1].layer
        if kind:
            mine = next(
                (layer for layer in self.layers[::-1] if layer.path == path), None
            )
            return mine or self._open(path, kind)
        if name == "conv_general_dilated":
            return self._open(path, "conv")
        if name == "dot_general":
            return self._open(path, "dense")
        if name == "concatenate":
            return self._open(path, "concatenate", "concatenate")
        if name in ("slice", "pad", "gather"):
            mine = last.kind == "subsample" and last.path == path
            return last if mine else self._open(path, "subsample", "subsample")
        if name.startswith("reduce_window"):
            return self._open(path, f"{name[-3:].replace('sum', 'avg')}_pool", "pool")
        if name.startswith("reduce_"):
            return self._open(path, "global_avg_pool", "pool")
        if name in operations.MOVES or name == "convert_element_type":
            return None
        layers = {value.layer for value in flowing}
        if len(layers) > 1:
            return self._open(path, "add" if name == "add" else name, name)
        if last.path == path and FIXED in inputs:
            return last  # a bias
        mine = last.path == path and last.kind == "activation"
        layer = last if mine else self._open(path, "activation", name)
        layer.label = ACTIVATIONS.get(name, layer.label)
        return layer

    def _open(self, path: str, kind: str, label: str = "") -> Layer:
        self.layers.append(Layer(path, kind, label))
        return self.layers[-1]


def see(
    equation: Any, inputs: Sequence[Known]
) -> tuple[tuple[Span, Span], tuple[int | None, int | None]]:
    """Returns what an equation's output sees, and where its spatial axes are."""
    pairs = [
        (value, variable.aval.shape)
        for value, variable in zip(inputs, equation.invars, strict=True)
        if isinstance(value, Value)
    ]
    if equation.primitive.name == "concatenate":
        dimension = equation.params["dimension"]
        first = pairs[0][0]
        if dimension in first.axes:
            own = first.axes.index(dimension)
            spans = [join([value.spans[i] for value, _ in pairs]) for i in (0, 1)]
            spans[own] = in_a_row(
                [value.spans[own] for value, _ in pairs],
                [shape[dimension] for _, shape in pairs],
            )
            return (spans[0], spans[1]), first.axes
    seen = [
        [_see_axis(equation, value, shape, i) for i in (0, 1)] for value, shape in pairs
    ]
    # Where a map meets one that was stretched over its axes, the map's axes stay.
    best = max(seen, key=lambda two: sum(axis is not None for _, axis in two))
    vertical, horizontal = (join([two[i][0] for two in seen]) for i in (0, 1))
    return (vertical, horizontal), (best[0][1], best[1][1])


def _see_axis(
    equation: Any, value: Value, shape: tuple[int, ...], which: int
) -> tuple[Span, int | None]:
    """Follows one spatial axis of one operand through an equation."""
    span, axis = value.spans[which], value.axes[which]
    name, params = equation.primitive.name, equation.params
    if axis is None:
        return span, None
    whole = span.window(shape[axis])  # where the axis ends: all of it is seen
    if name == "conv_general_dilated":
        numbers = params["dimension_numbers"]
        at = numbers.lhs_spec[2:].index(axis)
        size = equation.invars[1].aval.shape[numbers.rhs_spec[2 + at]]
        stride, (padding, _) = params["window_strides"][at], params["padding"][at]
        dilation = params["rhs_dilation"][at]
        return span.window(size, stride, padding, dilation), numbers.out_spec[2 + at]
    if name.startswith("reduce_window"):
        size, stride = params["window_dimensions"][axis], params["window_strides"][axis]
        dilation, padding = params["window_dilation"][axis], params["padding"][axis][0]
        return span.window(size, stride, padding, dilation), axis
    if name.startswith("reduce_"):
        gone = params["axes"]
        if axis in gone:
            return whole, None
        return span, axis - sum(other < axis for other in gone)
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        if axis in contracted:
            return whole, None
        return span, axis - sum(other < axis for other in contracted)
    if name == "pad":
        return span.cut(-params["padding_config"][axis][0]), axis
    if name == "slice":
        steps = params["strides"] or (1,) * len(shape)
        return span.cut(params["start_indices"][axis], steps[axis]), axis
    if name == "reshape":
        kept = equation.outvars[0].aval.shape[: axis + 1] == shape[: axis + 1]
        return (span, axis) if kept else (whole, None)
    if name == "transpose":
        return span, params["permutation"].index(axis)
    if name == "broadcast_in_dim":
        return span, params["broadcast_dimensions"][axis]
    if name == "squeeze":
        gone = params["dimensions"]
        if axis in gone:
            return whole, None
        return span, axis - sum(other < axis for other in gone)
    return span, axis


def _inner(equation: Any) -> Any:
    """Returns the jaxpr that an equation calls, or None."""
    params = equation.params
    if equation.primitive.name == "cond":
        # A choice by platform ends with the form that any platform can run.
        return params["branches"][-1].jaxpr
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if key in params:
            return getattr(params[key], "jaxpr", params[key])
    return None


def _path(stack: str) -> str:
    """Turns a name stack, "AlexNet/conv1", into a module's path, "conv1"."""
    return stack.partition("/")[2]
