"""Receptive fields: the input pixels that an output element depends on.

Along each axis, output i of a map sees the pixels from ``start + stride * i`` to
``start + stride * i + size - 1``; those outside the image are padding. The arithmetic
follows A. Araujo, W. Norris, J. Sim, "Computing Receptive Fields of Convolutional
Neural Networks", Distill, 2019 (https://distill.pub/2019/computing-receptive-fields).
"""

import dataclasses
from collections.abc import Sequence
from itertools import accumulate
from typing import Any


@dataclasses.dataclass(frozen=True)
class Span:
    """The receptive fields along one axis of a map, in pixels."""

    size: int = 1  # of one output's field
    stride: int = 1  # between the fields of neighbouring outputs
    start: int = 0  # first pixel of output 0's field; negative on padding

    def window(
        self, size: int, stride: int = 1, padding: int = 0, dilation: int = 1
    ) -> "Span":
        """Returns the span after a window has slid over the axis."""
        return Span(
            self.size + (size - 1) * dilation * self.stride,
            self.stride * stride,
            self.start - padding * self.stride,
        )

    def cut(self, first: int, step: int = 1) -> "Span":
        """Returns the span of outputs first, first + step, ..."""
        return Span(self.size, self.stride * step, self.start + first * self.stride)


def join(spans: Sequence[Span]) -> Span:
    """Returns the span of outputs in which several paths meet.

    If all paths have the same centre, as in every network here, the result is the span
    of the path with the largest field.
    """
    start = min(span.start for span in spans)
    end = max(span.start + span.size for span in spans)
    return Span(end - start, max(span.stride for span in spans), start)


def in_a_row(spans: Sequence[Span], lengths: Sequence[int]) -> Span:
    """Returns the span of maps that are concatenated along this axis."""
    firsts = list(accumulate([0, *lengths[:-1]]))
    steps = [
        (span.start - spans[0].start) // first
        for span, first in zip(spans, firsts, strict=True)
        if first
    ]
    stride = max([*steps, 1]) if steps else spans[0].stride
    return join(
        [
            Span(span.size, stride, span.start - first * stride)
            for span, first in zip(spans, firsts, strict=True)
        ]
    )


@dataclasses.dataclass(frozen=True)
class Seen:
    """The receptive fields of an array's elements."""

    spans: tuple[Span, Span] = (Span(), Span())  # vertical and horizontal
    # The array's vertical and horizontal axis; None after the axis has been removed.
    axes: tuple[int | None, int | None] = (1, 2)


def see(equation: Any, operands: Sequence[Seen | None]) -> Seen:
    """Returns the receptive fields of the output of a jaxpr's equation.

    Args:
      equation: one that contains no further jaxpr.
      operands: the fields of each operand; None if it does not depend on the image.
    """
    pairs = [
        (seen, variable.aval.shape)
        for seen, variable in zip(operands, equation.invars, strict=True)
        if seen is not None
    ]
    if equation.primitive.name == "concatenate":
        dimension = equation.params["dimension"]
        lengths = [shape[dimension] for _, shape in pairs]
        axes, spans = pairs[0][0].axes, []
        for which, axis in enumerate(axes):
            parts = [seen.spans[which] for seen, _ in pairs]
            spans.append(in_a_row(parts, lengths) if axis == dimension else join(parts))
        return Seen((spans[0], spans[1]), axes)
    followed = [
        [_follow(equation, seen, shape, which) for which in (0, 1)]
        for seen, shape in pairs
    ]
    # If only some operands still have the image's axes, the output has them too.
    best = max(followed, key=lambda two: sum(axis is not None for _, axis in two))
    spans = [join([two[which][0] for two in followed]) for which in (0, 1)]
    return Seen((spans[0], spans[1]), (best[0][1], best[1][1]))


def _follow(
    equation: Any, seen: Seen, shape: tuple[int, ...], which: int
) -> tuple[Span, int | None]:
    """Follows the vertical (0) or horizontal (1) axis of an operand."""
    span, axis = seen.spans[which], seen.axes[which]
    name, params = equation.primitive.name, equation.params
    if axis is None:
        return span, None
    gone: Sequence[int] = ()  # axes that the operation removes: it reads all of them
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
    elif name == "dot_general":  # its output has the axes of its batch first
        (gone, _), (batch, _) = params["dimension_numbers"]
        free = [other for other in range(len(shape)) if other not in (*gone, *batch)]
        if axis not in gone:
            return span, [*batch, *free].index(axis)
    elif name == "squeeze":
        gone = params["dimensions"]
    elif name == "reshape":
        if equation.outvars[0].aval.shape[: axis + 1] != shape[: axis + 1]:
            gone = (axis,)
    elif name == "pad":
        span = span.cut(-params["padding_config"][axis][0])
    elif name == "slice":
        steps = params["strides"] or (1,) * len(shape)
        span = span.cut(params["start_indices"][axis], steps[axis])
    elif name == "transpose":
        axis = params["permutation"].index(axis)
    elif name == "broadcast_in_dim":
        axis = params["broadcast_dimensions"][axis]
    if axis in gone:
        return span.window(shape[axis]), None
    return span, axis - sum(other < axis for other in gone)
