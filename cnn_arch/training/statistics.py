"""Whether BatchNorm can measure the variance of its inputs.

The variance is the mean of squares minus the square of the mean (as in Flax). In
float32, its relative error is at most 8 units of the last place times (mean /
deviation)^2. In our networks the mean is up to 6 deviations, an error of 2e-5. Shifting
the inputs by the running mean would be exact, but made BatchNorm 1.5 to 2.2 times as
slow in float32 on a CPU, and would change the bits of every run (docs/recipes.md).
"""

from typing import Any

import jax
import numpy as np

LAST_PLACE = 2.0**-24  # of float32
EPSILON = 1e-5  # that BatchNorm adds to the variance
LARGEST_ERROR = 0.005  # of the variance; its mean is then 100 deviations from zero


def inexact_layer(batch_stats: Any) -> tuple[str, float] | None:
    """Returns the layer whose variance is least exact, and the bound of its error.

    Args:
      batch_stats: running means and variances of all BatchNorm layers.

    Returns:
      None if all errors are below ``LARGEST_ERROR``, or there is no such layer.
    """
    leaves, _ = jax.tree.flatten_with_path(jax.device_get(batch_stats))
    arrays = {tuple(key.key for key in path): leaf for path, leaf in leaves}
    errors = {}
    for (*layer, kind), mean in arrays.items():
        if kind == "mean":
            variance = np.maximum(arrays[(*layer, "var")], 0) + EPSILON
            error = 8 * LAST_PLACE * np.max(np.square(mean) / variance)
            errors["/".join(layer)] = float(error)
    worst = max(errors, key=lambda layer: errors[layer], default=None)
    if worst is None or errors[worst] < LARGEST_ERROR:
        return None
    return worst, errors[worst]
