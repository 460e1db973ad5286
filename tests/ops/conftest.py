"""The tolerances, and numbers to compare."""

import jax.numpy as jnp
import numpy as np

# The largest relative error of a gradient. The plain form's own error is 3e-7 in
# float32 and 3e-3 in bfloat16, whose last bit is 4e-3.
TOLERANCE = {"float32": 2e-6, "bfloat16": 8e-3}


def draw(rng, *shape):
    # Exact in bfloat16: all forms get the same numbers.
    return jnp.asarray(rng.standard_normal(shape), jnp.bfloat16).astype(jnp.float32)


def relative_error(values, expected):
    values, expected = (np.asarray(x, np.float64) for x in (values, expected))
    return np.linalg.norm(values - expected) / np.linalg.norm(expected)
