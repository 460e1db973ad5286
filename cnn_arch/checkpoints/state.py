"""What a training step takes and returns."""

from typing import Any

import flax.struct
import jax


class TrainState(flax.struct.PyTreeNode):
    """Everything that a run needs in order to continue, and nothing else."""

    step: jax.Array  # int32 scalar, the number of updates made
    params: Any  # float32
    batch_stats: Any  # BatchNorm's running means and variances, float32; may be empty
    opt_state: Any  # of the optax transformation

    @property
    def variables(self) -> dict[str, Any]:
        """What ``model.apply`` takes."""
        return {"params": self.params, "batch_stats": self.batch_stats}
