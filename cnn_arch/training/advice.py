"""What a run warns of while it trains."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnn_arch.training.program import Program

MAX_WAIT_SHARE = 0.2  # of the time: the run warns of longer waits for images
MIN_WAIT_SECONDS = 10.0  # in all epochs so far; it does not warn of less
NUM_EPOCHS_TO_LEARN = 5  # after them, the run warns if the network still guesses


def at_the_start(program: Program) -> list[str]:
    """Returns what a user should know before the first step."""
    config = program.config
    if not program.state_shapes.batch_stats:
        idle = f"--config.batch_norm_images={config.batch_norm_images}: without effect"
        has_none = f"{idle}, as {config.model.name} has no BatchNorm"
        return [has_none] if config.batch_norm_images else []
    if config.accumulate == 1:
        return []
    part = config.batch_size // config.accumulate
    return [
        f"--config.accumulate={config.accumulate}: BatchNorm's statistics are of parts "
        f"of {part} images, not of the whole batch of {config.batch_size}"
    ]


def after_an_epoch(rows: Sequence[Mapping[str, Any]], num_classes: int) -> list[str]:
    """Returns warnings of slow loading and of a network that only guesses.

    Each comes once in a run; ``rows`` are those of metrics.csv so far.
    """
    remarks = []
    if share := new_wait_share(rows):
        remarks.append(
            f"the network waits for its images {100 * share:.0f} % of the time; "
            "smaller files or more processor cores would help"
        )
    guessing = math.log(num_classes)
    is_guessing = rows[-1]["train_loss"] > 0.99 * guessing
    if len(rows) == NUM_EPOCHS_TO_LEARN and is_guessing:
        remarks.append(
            f"after {len(rows)} epochs the loss is no better than guessing "
            f"({guessing:.2f}); try another --config.optim.learning_rate"
        )
    return remarks


def new_wait_share(rows: Sequence[Mapping[str, Any]]) -> float:
    """Returns the share of a run's time spent waiting for images, or 0.

    It is 0 unless the share has become too large in the newest epoch.
    """
    waited, took = (
        np.cumsum([float(row[name]) for row in rows])
        for name in ("input_wait_seconds", "seconds")
    )
    is_long = (waited > MIN_WAIT_SECONDS) & (waited > MAX_WAIT_SHARE * took)
    return waited[-1] / took[-1] if is_long[-1] and not is_long[:-1].any() else 0.0
