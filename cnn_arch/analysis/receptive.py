"""Receptive fields: which input pixels an output element can see.

Along each axis, output i of a map sees the pixels from ``start + stride * i`` to
``start + stride * i + size - 1``; those outside the image are padding. The arithmetic
is that of A. Araujo, W. Norris, J. Sim, "Computing Receptive Fields of Convolutional
Neural Networks", Distill, 2019 (https://distill.pub/2019/computing-receptive-fields).
"""

import dataclasses
from collections.abc import Sequence
from functools import reduce


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
