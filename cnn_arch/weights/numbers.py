"""The numbers of arrays from other programs."""

from collections.abc import Mapping

import numpy as np

from cnn_arch.errors import UsageError
from cnn_arch.weights.torchvision import COUNTER

FLOATS = ("float16", "bfloat16", "float32", "float64")


def as_float32(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the arrays as float32, without PyTorch's counters of batches.

    Raises:
      UsageError: a value is not a finite number.
    """
    made = {}
    for name, array in arrays.items():
        if name.endswith(COUNTER):
            continue
        if array.dtype.name not in FLOATS:
            raise UsageError(
                f"{name} is of type {array.dtype.name}; must be float16, bfloat16, "
                "float32 or float64"
            )
        with np.errstate(over="ignore"):
            made[name] = array.astype(np.float32, copy=False)
        if not np.isfinite(made[name]).all():
            raise UsageError(f"{name} has values that are not finite float32 numbers")
    return made
