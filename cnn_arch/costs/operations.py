"""What one operation of a traced program computes, in our count and in XLA's.

XLA's ``HloCostAnalysis`` counts two for each multiply-add of a convolution or matrix
product whose tap is not padding, one for each element of an elementwise result, and
one for each but one of the elements of a window or a sum. Exponentials, roots, powers
and the like (transcendentals) it counts apart. Moving data counts nothing.
"""

import dataclasses
import math
from typing import Any

import numpy as np
from jax.extend import core

# Elementwise primitives that XLA counts apart from its flops.
TRANSCENDENTALS = set(
    "exp exp2 expm1 log log1p tanh sin cos tan pow rsqrt sqrt cbrt erf atan2".split()
)
# Those that only move or name data.
MOVES = set(
    """
    scatter broadcast_in_dim reshape transpose squeeze expand_dims
    copy copy_p stop_gradient
    slice pad concatenate rev iota gather dynamic_slice
    dynamic_update_slice optimization_barrier platform_index
    random_wrap random_unwrap random_bits random_seed random_fold_in
    shift_right_logical bitcast_convert_type
    """.split()
)


@dataclasses.dataclass
class Count:
    """What operations cost.

    Attributes:
      macs: multiply-adds of convolutions and matrix products, padding taps included.
      padding_macs: those of them whose tap lies on the padding.
      others: all other operations.
      transcendentals: those of the others that XLA counts apart.
    """

    macs: int = 0
    padding_macs: int = 0
    others: int = 0
    transcendentals: int = 0

    @property
    def xla_flops(self) -> int:
        """What XLA calls the flops of these operations."""
        return 2 * (self.macs - self.padding_macs) + self.others - self.transcendentals

    def add(self, other: "Count") -> None:
        """Adds another's costs to these."""
        self.macs += other.macs
        self.padding_macs += other.padding_macs
        self.others += other.others
        self.transcendentals += other.transcendentals


def count(equation: Any) -> Count:
    """Counts one equation of a jaxpr that holds no further jaxpr."""
    name, params = equation.primitive.name, equation.params
    output = equation.outvars[0].aval
    if name == "conv_general_dilated":
        return _convolution(equation)
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return Count(macs=output.size * math.prod(shape[axis] for axis in contracted))
    if name in MOVES:
        return Count()
    if name.startswith("reduce_window"):
        window = math.prod(params["window_dimensions"])
        return Count(others=output.size * (window - 1))
    if name.startswith("reduce_"):
        return Count(others=equation.invars[0].aval.size - output.size)
    if name == "add" and any(_is_zero(variable) for variable in equation.invars):
        return Count()  # dropped before XLA sees it
    if name == "logistic":  # 1 / (1 + exp(-x))
        return Count(others=4 * output.size, transcendentals=output.size)
    if name in TRANSCENDENTALS:
        return Count(others=output.size, transcendentals=output.size)
    return Count(others=output.size)


def _is_zero(variable: Any) -> bool:
    return (
        isinstance(variable, core.Literal)
        and np.ndim(variable.val) == 0
        and not variable.val
    )


def _convolution(equation: Any) -> Count:
    """Counts taps: each output element takes one window of its group's channels."""
    params = equation.params
    numbers = params["dimension_numbers"]
    source, kernel = (variable.aval.shape for variable in equation.invars)
    output = equation.outvars[0].aval
    channels = kernel[numbers.rhs_spec[1]]  # of one group
    maps = output.size * channels
    taps = own_taps = 1
    spatial = zip(
        numbers.lhs_spec[2:],
        numbers.rhs_spec[2:],
        numbers.out_spec[2:],
        params["window_strides"],
        params["padding"],
        params["lhs_dilation"],
        params["rhs_dilation"],
        strict=True,
    )
    for axis, window_axis, out_axis, stride, (low, _), spread, dilation in spatial:
        length, window = output.shape[out_axis], kernel[window_axis]
        own = 0  # pairs of a position and a tap that meet an element, not padding
        for tap in range(window):
            for position in range(length):
                at = position * stride + tap * dilation - low
                own += 0 <= at <= (source[axis] - 1) * spread and at % spread == 0
        taps *= length * window
        own_taps *= own
    positions = math.prod(output.shape[axis] for axis in numbers.out_spec[2:])
    maps //= positions
    return Count(macs=maps * taps, padding_macs=maps * (taps - own_taps))
