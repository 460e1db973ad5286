"""Multiply-adds, counted from the shapes of the traced program.

One MAC is one multiply-add of a convolution or a matrix product, padding taps included,
biases, normalisation and activations excluded; FLOPs are twice that.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core


def count_macs(model: Any, image_size: int, channels: int) -> int:
    """Returns the multiply-adds of one forward pass of one image.

    Args:
      model: a Flax module of the catalogue.
      image_size: side of the square image, px.
      channels: 1 or 3.
    """
    image = jnp.zeros((1, image_size, image_size, channels))
    forward = partial(model.apply, train=False)
    variables = jax.eval_shape(
        partial(model.init, train=False), jax.random.key(0), image
    )
    return _count(jax.make_jaxpr(forward)(variables, image).jaxpr)


def _count(jaxpr: core.Jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        shapes: list[Any] = [variable.aval for variable in equation.invars]
        output: Any = equation.outvars[0].aval
        name = equation.primitive.name
        if name == "conv_general_dilated":
            # Each output element takes one window of one group's input channels.
            numbers = equation.params["dimension_numbers"]
            kernel = shapes[1].shape
            window = math.prod(kernel) // kernel[numbers.rhs_spec[0]]
            total += output.size * window
        elif name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = shapes[0].shape
            length = math.prod(shape[axis] for axis in contracted)
            total += output.size * length
        repeats = equation.params.get("length", 1) if name == "scan" else 1
        inside = list(equation.params.values())
        if equation.params.get("branches_platforms"):
            # One computation in a form for each platform; the last is the plain one.
            inside = [equation.params["branches"][-1]]
        for inner in jax.tree.leaves(
            inside,
            is_leaf=lambda value: hasattr(value, "eqns") or hasattr(value, "jaxpr"),
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                total += repeats * _count(inner)
    return total
