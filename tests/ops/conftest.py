"""The tolerances, and numbers to compare."""

import jax
import jax.numpy as jnp
import numpy as np

from cnn_arch import processor
from cnn_arch.parallel.runtime import cpu_flags

# The largest relative error of a gradient. The plain form's own error is 3e-7 in
# float32 and 3e-3 in bfloat16, whose last bit is 4e-3.
TOLERANCE = {"float32": 2e-6, "bfloat16": 8e-3}


def draw(rng, *shape):
    # Exact in bfloat16: all forms get the same numbers. By NumPy, as JAX would compile
    # a conversion for each shape.
    return rng.standard_normal(shape).astype(jnp.bfloat16).astype(np.float32)


def compile_as_program(function):
    """Compiles a function with the flags that the program sets on this processor.

    The flags of the other tests, which compile faster, do without oneDNN.
    """
    flags = (flag.removeprefix("--") for flag in cpu_flags(processor.vector_unit()))
    options = (flag.partition("=")[::2] for flag in flags)
    values = {"true": True, "false": False}
    return jax.jit(
        function,
        compiler_options={name: values.get(value, value) for name, value in options},
    )


def differentiate(function, arguments, gradient):
    """Returns the output, and the gradient of each argument, of one program."""

    @compile_as_program
    def run(arguments, gradient):
        y, backward = jax.vjp(function, *arguments)
        return y, *backward(gradient.astype(y.dtype))

    return run(arguments, gradient)


def relative_error(values, expected):
    values, expected = (np.asarray(x, np.float64) for x in (values, expected))
    return np.linalg.norm(values - expected) / np.linalg.norm(expected)
