"""Counts the arithmetic of one operation of a traced program, also by XLA's rules.

XLA's ``HloCostAnalysis`` counts two for each multiply-add of a convolution or matrix
product whose tap is not padding, one for each element of an elementwise result, and
k - 1 for a window or sum of k elements. It counts exponentials, roots, powers and the
like (transcendentals) separately. Moving data counts nothing.
"""

import dataclasses
import math
from typing import Any

import numpy as np
from jax.extend import core

# Elementwise primitives that XLA counts separately from its flops.
TRANSCENDENTALS = set(
    "exp exp2 expm1 log log1p tanh sin cos tan pow rsqrt sqrt cbrt erf atan2".split()
)
# Primitives that only move, name or draw data.
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
    """The costs of operations."""

    macs: int = 0  # of convolutions and matrix products, padding taps included
    padding_macs: int = 0  # of these, the ones whose tap lies on the padding
    others: int = 0  # all other operations
    transcendentals: int = 0  # of the others, the ones that XLA counts separately

    @property
    def xla_flops(self) -> int:
        """The flops of these operations by XLA's rules."""
        return 2 * (self.macs - self.padding_macs) + self.others - self.transcendentals

    def add(self, other: "Count") -> None:
        """Adds another's costs to these."""
        self.macs += other.macs
        self.padding_macs += other.padding_macs
        self.others += other.others
        self.transcendentals += other.transcendentals


def count(equation: Any) -> Count:
    """Counts one equation of a jaxpr that contains no further jaxpr."""
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
        return Count()  # JAX drops x + 0 before XLA counts
    if name == "logistic":  # 1 / (1 + exp(-x))
        return Count(others=4 * output.size, transcendentals=output.size)
    if name in TRANSCENDENTALS:
        return Count(others=output.size, transcendentals=output.size)
    return Count(others=output.size)


def _is_zero(variable: Any) -> bool:
    return isinstance(variable, core.Literal) and not np.any(variable.val)


def _convolution(equation: Any) -> Count:
    """Counts taps: each output element takes one window of its group's channels."""
    params = equation.params
    numbers = params["dimension_numbers"]
    source, kernel = (variable.aval.shape for variable in equation.invars)
    output = equation.outvars[0].aval.shape
    taps = inner_taps = 1  # pairs of a position and a tap; without taps on padding
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
        length, window = output[out_axis], kernel[window_axis]
        at = stride * np.arange(length)[:, None] + dilation * np.arange(window) - low
        inside = (at >= 0) & (at <= (source[axis] - 1) * spread) & (at % spread == 0)
        taps *= length * window
        inner_taps *= int(inside.sum())
    group_channels = kernel[numbers.rhs_spec[1]]
    maps = math.prod(output[axis] for axis in numbers.out_spec[:2]) * group_channels
    return Count(macs=maps * taps, padding_macs=maps * (taps - inner_taps))
