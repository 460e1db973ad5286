"""Batches: those to train on, a pure function of (seed, step), and those to test on."""

import functools
from collections.abc import Callable, Generator

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cnn_arch.data import transforms
from cnn_arch.data.device import WHOLE_CROPS
from cnn_arch.data.sources import (
    ArraySource,
    DataConfig,
    Source,
    num_threads,
    read_image,
)
from cnn_arch.data.views import check_view, evaluation_view
from cnn_arch.errors import RunError, UsageError
from cnn_arch.parallel.processes import batch_share

Batch = dict[str, np.ndarray]

TRAIN_CROPS = (*WHOLE_CROPS, "random_resized_crop", "scale_jitter_crop")
# The first number of a random stream after the seed: what it is for.
ORDER, AUGMENTATION = 0, 1


class TrainBatches:
    """The training batches of a run.

    Step s belongs to epoch s // steps_per_epoch. An epoch is a new permutation of the
    split; what does not fill its last batch is left out. A process holds consecutive
    rows of the global batch, which does not depend on the number of processes.

    Attributes:
      steps_per_epoch: batches in an epoch.
      skipped: names of the images that could not be read so far. In its place a batch
        has the next image of the split that can.
    """

    def __init__(
        self,
        source: Source,
        data: DataConfig,
        *,
        seed: int,
        batch_size: int,
        share: tuple[int, int] = (0, 1),
    ):
        """Checks that batches can be made.

        Args:
          source: the training split.
          data: config.data.
          seed: of the order and the augmentation, not negative.
          batch_size: of all processes together.
          share: which part of each batch this process makes, from 0, and of how many
            parts, which divide batch_size.

        Raises:
          UsageError: a setting that cannot work.
        """
        if batch_size > len(source):
            raise UsageError(
                f"--config.batch_size={batch_size}: more than the {len(source):,}"
                f" training images; choose at most {len(source)}"
            )
        if data.train_crop not in TRAIN_CROPS:
            raise UsageError(
                f"--config.data.train_crop={data.train_crop}: must be one of"
                f" {', '.join(TRAIN_CROPS)}"
            )
        if data.train_crop == "scale_jitter_crop" and not (
            data.image_size <= data.scale_min <= data.scale_max
        ):
            raise UsageError(
                f"--config.data.scale_min={data.scale_min}: must be between image_size"
                f" {data.image_size} and scale_max {data.scale_max}"
            )
        check_view(data)
        self._source = source
        self._data = data
        self._seed = seed
        self._batch_size = batch_size
        self._rows = _process_rows(batch_size, *share)
        self.steps_per_epoch = len(source) // batch_size
        self.skipped: set[str] = set()

    @classmethod
    def of_run(cls, config: ConfigDict, source: Source, mesh: Mesh) -> "TrainBatches":
        """Returns this process's part of the batches of a run."""
        return cls(
            source,
            config.data,
            seed=config.seed,
            batch_size=config.batch_size,
            share=batch_share(mesh),
        )

    def batch(self, step: int) -> Batch:
        """Makes this process's part of the batch of a step, for ``device.augment``.

        Returns:
          "image" uint8 [B / parts, image_size, image_size, channels] and "label" int32
          [B / parts].
        """
        data = self._data
        epoch, position = divmod(step, self.steps_per_epoch)
        order = _epoch_order(self._seed, epoch, len(self._source))
        indices = order[position * self._batch_size :][self._rows]
        generator = np.random.default_rng((self._seed, AUGMENTATION, step))
        shape = (self._batch_size, transforms.NUM_CROP_UNIFORMS + 1)
        uniforms = generator.random(shape)[self._rows]

        images, labels = self._views(indices, uniforms)
        if data.train_crop == "affine":
            images = transforms.affine(images, uniforms[:, :6])
        return {"image": images, "label": labels}

    def iterate(self, start_step: int, stop_step: int) -> Generator[Batch, None, None]:
        """Yields the batches of the steps from start to stop, made ahead by threads.

        The threads end with the iterator: at its end, its close(), or an error.
        """
        threads = _threads(self._source, self._data)
        return _prefetch(self.batch, start_step, stop_step, threads)

    def _views(
        self, indices: np.ndarray, uniforms: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Makes images of image_size px: cut at random, or whole for what follows."""
        source, data, size = self._source, self._data, self._data.image_size
        if data.train_crop in WHOLE_CROPS and isinstance(source, ArraySource):
            height, width = source.images.shape[1:3]
            is_padded = data.fit == "pad" and max(height, width) <= size
            if is_padded or height == width == size:  # many times faster together
                images = transforms.pad_to(source.images[indices], size)
                return images, source.labels[indices]
        images = np.empty((len(indices), size, size, data.channels), np.uint8)
        labels = np.empty(len(indices), np.int32)
        mirrors = data.flip and data.train_crop not in WHOLE_CROPS
        for row, index in enumerate(indices):
            image, labels[row] = self._read(index)
            view = _training_view(image, uniforms[row], data)
            is_mirrored = mirrors and uniforms[row, -1] < 0.5
            images[row] = transforms.flip(view) if is_mirrored else view
        return images, labels

    def _read(self, index: int) -> tuple[np.ndarray, int]:
        """Reads an image or, where images are skipped, the next that can be read."""
        for i in range(len(self._source)):
            candidate = (index + i) % len(self._source)
            image, label = read_image(self._source, candidate, self._data)
            if image is not None:
                return image, label
            self.skipped.add(self._source.name(candidate))
        raise RunError(
            f"{self._source.name(0)}: not a readable image, nor is any other of the"
            f" {len(self._source):,} training images; check the files"
        )


def evaluation_batches(
    source: Source,
    data: DataConfig,
    batch_size: int,
    share: tuple[int, int] = (0, 1),
) -> Generator[Batch, None, None]:
    """Yields every example of a split exactly once, in its order.

    Args:
      source: the split.
      data: config.data.
      batch_size: of all processes together.
      share: which part of each batch this process makes, from 0, and of how many
        parts, which divide batch_size. All processes get equally many batches.

    Returns:
      An iterator of "image" uint8 [B / parts, image_size, image_size, channels],
      "label" int32 and "mask" bool [B / parts]: false, with zeros beside it, where the
      split has ended or the image cannot be read.
    """
    check_view(data)
    rows = _process_rows(batch_size, *share)
    size = data.image_size

    def batch(step: int) -> Batch:
        indices = np.arange(step * batch_size, (step + 1) * batch_size)[rows]
        images = np.zeros((len(indices), size, size, data.channels), np.uint8)
        labels = np.zeros(len(indices), np.int32)
        mask = np.zeros(len(indices), bool)
        for row, index in enumerate(indices[indices < len(source)]):
            image, label = read_image(source, index, data)
            if image is not None:
                images[row] = evaluation_view(image, data)
                labels[row] = label
                mask[row] = True
        return {"image": images, "label": labels, "mask": mask}

    num_batches = -(-len(source) // batch_size)
    return _prefetch(batch, 0, num_batches, _threads(source, data))


def _training_view(
    image: np.ndarray, uniforms: np.ndarray, data: DataConfig
) -> np.ndarray:
    """Cuts image_size px out of an image at random, or whole for a crop to follow."""
    size = data.image_size
    if data.train_crop == "random_resized_crop":
        return transforms.random_resized_crop(
            image, uniforms[:-1], size=size, min_area=data.min_area
        )
    if data.train_crop == "scale_jitter_crop":
        return transforms.scale_jitter_crop(
            image,
            uniforms[:3],
            size=size,
            scale_min=data.scale_min,
            scale_max=data.scale_max,
        )
    return evaluation_view(image, data)


def _process_rows(batch_size: int, process_index: int, process_count: int) -> slice:
    if batch_size % process_count:
        raise UsageError(
            f"--config.batch_size={batch_size}: must be a multiple of the"
            f" {process_count} processes"
        )
    num_rows = batch_size // process_count
    return slice(process_index * num_rows, (process_index + 1) * num_rows)


@functools.lru_cache(maxsize=2)  # the prefetch works on two epochs at their border
def _epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    return np.random.default_rng((seed, ORDER, epoch)).permutation(size)


def _threads(source: Source, data: DataConfig) -> int:
    return 1 if isinstance(source, ArraySource) else num_threads(data)


def _prefetch(
    batch: Callable[[int], Batch], start: int, stop: int, threads: int
) -> Generator[Batch, None, None]:
    """Calls batch(step) ahead of time, each step whole in one of the threads."""
    import grain

    steps = grain.MapDataset.range(start, stop).map(batch)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 1)
    batches = iter(steps.to_iter_dataset(options))
    batches.start_prefetch()  # while the caller compiles

    def consume() -> Generator[Batch, None, None]:
        try:
            yield from batches
        finally:
            batches.close()

    return consume()
