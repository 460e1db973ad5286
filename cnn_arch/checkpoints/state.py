"""The state that a training step updates."""

from typing import Any

import flax.struct
import jax


class TrainState(flax.struct.PyTreeNode):
    """Everything that a run needs to continue."""

    step: jax.Array  # int32 scalar, number of updates so far
    params: Any  # float32
    batch_stats: Any  # BatchNorm's running means and variances, float32; may be empty
    opt_state: Any  # state of the optax transformation
    average: Any = None  # of the parameters, float32; None: none is kept

    @property
    def variables(self) -> dict[str, Any]:
        """The variables for ``model.apply``."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    @property
    def averaged_variables(self) -> dict[str, Any] | None:
        """The average of the parameters with the statistics of the newest step."""
        if self.average is None:
            return None
        return {"params": self.average, "batch_stats": self.batch_stats}
