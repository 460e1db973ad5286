"""A picture of the first batch, as the network is fed."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict

from cnn_arch import settings
from cnn_arch.data import normalisation
from cnn_arch.data.loading import TrainBatches
from cnn_arch.data.sources import DataConfig
from cnn_arch.parallel import processes
from cnn_arch.parallel.mesh import put_batch, replicated
from cnn_arch.report import plots
from cnn_arch.run_directory import Run
from cnn_arch.same_run import is_worth_keeping
from cnn_arch.training.step import network_input

NUM_IMAGES = 16  # of the batch, that are drawn
# What a train_crop cuts from; the names are settings of config.data.
CROPS = {
    "pad_crop": "of {crop_padding} px",
    "random_resized_crop": "from {min_area:.2g} of the area",
    "scale_jitter_crop": "at {scale_min} to {scale_max} px",
    "square_crop": "in {eval_resize} px",
    "ten_crop": "in {eval_resize} px",
}


@dataclasses.dataclass(frozen=True)
class Preview:
    """The first batch of a run, after everything that the training step does to it."""

    words: Sequence[str]  # of the command line, for the recipe's name
    config: ConfigDict
    batches: TrainBatches
    class_names: tuple[str, ...]
    mesh: Mesh

    def draw_of_run(self, run: Run) -> None:
        """Draws the batch of a new run: a mistake is visible before training."""
        if not processes.from_first(is_worth_keeping(run.workdir)):
            path = run.workdir / "plots" / "train_batch.jpg"
            self.draw(path)
            run.screen.say("look at", f"{path}   what the net sees")

    def draw(self, path: Path) -> None:
        """Draws images of the batch; call it on all processes.

        Each image is next to its view in evaluation: a view that shows too little is
        visible too.
        """
        images, names = self.images()
        if processes.index() == 0:
            views = self.batches.evaluation_views(0, NUM_IMAGES)
            recipe = settings.recipe_name(self.words)
            title = f"{recipe}: {describe(self.config.data)}"
            number = len(views)
            plots.train_batch(path, title, images[:number], views, names[:number])

    def images(self) -> tuple[np.ndarray, list[list[tuple[str, float]]]]:
        """Computes the first images of the batch, and the classes that each shows.

        Returns:
          uint8 [N, H, W, C], without normalisation; and for each image the names of its
          classes with their shares, two if images are mixed.
        """
        batch = put_batch(self.batches.batch(0), self.mesh)
        feed = jax.shard_map(
            partial(_feed, self.config),
            mesh=self.mesh,
            in_specs=P("data"),
            out_specs=(P("data"), P("data"), P()),
            check_vma=False,
        )

        def first_images(batch: dict[str, jax.Array]) -> Any:
            image, labels, share = feed(batch)
            image = normalisation.picture(image[:NUM_IMAGES], self.config.data)
            return image, labels[:NUM_IMAGES], share

        on_all = jax.jit(first_images, out_shardings=replicated(self.mesh))
        images, labels, share = map(np.asarray, on_all(batch))
        shares = (1.0,) if labels.shape[1] == 1 else (float(share), 1 - float(share))
        names = [
            [
                (self.class_names[label], part)
                for label, part in zip(row, shares, strict=True)
            ]
            for row in labels
        ]
        return images, names


def _feed(
    config: ConfigDict, batch: dict[str, jax.Array]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the images, all labels of each [B, 1 or 2], and the first one's share."""
    image, target = network_input(config, 0, batch)
    labels = [label for label in (target.label, target.partner) if label is not None]
    return image, jax.numpy.stack(labels, axis=1), jax.numpy.asarray(target.share)


def describe(data: DataConfig) -> str:
    """Returns the settings of the training images that change them, in one line."""
    crop = CROPS.get(data.train_crop, "").format(**data)
    crop = crop.replace(f"{data.scale_max} to ", "")  # only where both are equal
    parts = [f"{data.image_size} px", f"{data.train_crop} {crop}".strip()]
    parts = [part for part in parts if part != "none"]
    parts += ["flip"] if data.flip else []
    parts += [f"each {data.repeats} times"] if data.repeats > 1 else []
    if data.interpolation != "bilinear":
        parts.append(f"{data.interpolation} interpolation")
    parts += ["trivial_augment"] if data.trivial_augment else []
    amounts: dict[float, list[str]] = {}
    for key in ("brightness", "contrast", "saturation", "hue"):
        amounts.setdefault(data[key], []).append(key)
    parts += [f"{'/'.join(amounts[x])} {x:g}" for x in amounts if x]
    for key in ("pca_noise", "erasing", "mixup", "cutmix"):
        parts += [f"{key} {data[key]:g}"] if data[key] else []
    if data.normalisation != "channels":
        parts.append(data.normalisation)
    return ", ".join(parts)
