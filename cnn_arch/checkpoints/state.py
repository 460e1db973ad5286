"""What a training step takes and returns."""

from typing import Any

import flax.struct
import jax


class TrainState(flax.struct.PyTreeNode):
    """Everything that a run needs in order to continue, and nothing else.

    Attributes:
      step: int32 scalar, the number of updates made.
      params: parameters, float32.
      batch_stats: BatchNorm's running means and variances, float32; empty without them.
      opt_state: the state of the optax transformation.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
