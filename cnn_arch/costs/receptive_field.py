"""Receptive fields: which input pixels an output element can see.

Along each axis, output i of a map sees the pixels from ``start + stride * i`` to
``start + stride * i + size - 1``; those outside the image are padding. The arithmetic
is that of A. Araujo, W. Norris, J. Sim, "Computing Receptive Fields of Convolutional
Neural Networks", Distill, 2019 (https://distill.pub/2019/computing-receptive-fields).
"""

import dataclasses
from collections.abc import Sequence
from functools import reduce
from typing import Any


@dataclasses.dataclass(frozen=True)
class Span:
    """What one axis of a map sees of the image, in pixels.

    Attributes:
      size: pixels that one output sees, first to last.
      stride: pixels between the fields of neighbouring outputs.
      start: the first pixel of output 0; negative: that many pixels of padding.
    """

    size: int = 1
    stride: int = 1
    start: int = 0

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
    """Returns the span of outputs that see what each of several paths sees.

    Where the paths are centred alike, as in every network here, that is the largest
    path's.
    """

    def two(a: Span, b: Span) -> Span:
        start = min(a.start, b.start)
        end = max(a.start + a.size, b.start + b.size)
        return Span(end - start, max(a.stride, b.stride), start)

    return reduce(two, spans)


def in_a_row(spans: Sequence[Span], lengths: Sequence[int]) -> Span:
    """Returns the span of maps that were put one after another along the axis."""
    firsts = [sum(lengths[:index]) for index in range(len(lengths))]
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
    """What an array sees of the image.

    Attributes:
      spans: vertically and horizontally.
      axes: the array's vertical and its horizontal axis; None once it has none.
    """

    spans: tuple[Span, Span] = (Span(), Span())
    axes: tuple[int | None, int | None] = (1, 2)


def see(equation: Any, operands: Sequence[Seen | None]) -> Seen:
    """Returns what the output of a jaxpr's equation sees.

    Args:
      equation: one that holds no further jaxpr.
      operands: what each operand sees; None: it does not depend on the image.
    """
    pairs = [
        (seen, variable.aval.shape)
        for seen, variable in zip(operands, equation.invars, strict=True)
        if seen is not None
    ]
    if equation.primitive.name == "concatenate":
        dimension = equation.params["dimension"]
        lengths = [shape[dimension] for _, shape in pairs]
        first = pairs[0][0]
        along = [
            (in_a_row if axis == dimension else _beside)(
                [seen.spans[which] for seen, _ in pairs], lengths
            )
            for which, axis in enumerate(first.axes)
        ]
        return Seen((along[0], along[1]), first.axes)
    followed = [
        [_follow(equation, seen, shape, which) for which in (0, 1)]
        for seen, shape in pairs
    ]
    # Where a map meets what has lost its axes, the map's stay.
    best = max(followed, key=lambda two: sum(axis is not None for _, axis in two))
    spans = [join([two[which][0] for two in followed]) for which in (0, 1)]
    return Seen((spans[0], spans[1]), (best[0][1], best[1][1]))


def _beside(spans: Sequence[Span], lengths: Sequence[int]) -> Span:
    del lengths
    return join(spans)


def _follow(
    equation: Any, seen: Seen, shape: tuple[int, ...], which: int
) -> tuple[Span, int | None]:
    """Follows the vertical (0) or horizontal (1) axis of an operand."""
    span, axis = seen.spans[which], seen.axes[which]
    name, params = equation.primitive.name, equation.params
    if axis is None:
        return span, None
    gone: Sequence[int] = ()  # axes that end here: all of them is seen
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
    elif name == "dot_general":
        gone = params["dimension_numbers"][0][0]
    elif name == "squeeze":
        gone = params["dimensions"]
    elif (
        name == "reshape"
        and equation.outvars[0].aval.shape[: axis + 1] != (shape[: axis + 1])
    ):
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
