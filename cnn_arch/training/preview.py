"""A picture of the first batch, as the network gets it."""

import jax
import numpy as np
from ml_collections import ConfigDict

from cnn_arch.data.device import augment
from cnn_arch.data.loading import TrainBatches
from cnn_arch.report import plots
from cnn_arch.run_directory import Run
from cnn_arch.same_run import is_worth_keeping
from cnn_arch.training.step import AUGMENTATION, step_key


def draw_first_batch(
    batches: TrainBatches, class_names: tuple[str, ...], config: ConfigDict, run: Run
) -> None:
    """Draws the first batch: a mistake in the data is visible before training.

    Each image is next to its view in evaluation: a view that shows too little is
    visible too.
    """
    if jax.process_index() or is_worth_keeping(run.workdir):  # it was drawn before
        return
    batch = batches.batch(0)
    key = step_key(config.seed, 0, AUGMENTATION)
    image = jax.jit(lambda image: augment(image, key, config.data))(batch["image"])
    names = [class_names[label] for label in batch["label"]]
    path = run.workdir / "plots" / "train_batch.jpg"
    views = batches.evaluation_views(0)
    plots.train_batch(path, np.asarray(image), views, names)
    run.screen.say("look at", f"{path}   what the net sees")
