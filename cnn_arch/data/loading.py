"""Batches for training, a pure function of (seed, step), and for evaluation."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cnn_arch.data import transforms
from cnn_arch.data.bundled import ArraySource
from cnn_arch.data.device import WHOLE_CROPS
from cnn_arch.data.kept import KeptImages, room_for
from cnn_arch.data.sources import DataConfig, Source, num_threads, read_image
from cnn_arch.data.views import check_view, evaluation_view, load_batch
from cnn_arch.errors import RunError, UsageError
from cnn_arch.parallel.processes import batch_share

Batch = dict[str, np.ndarray]

# The random streams of a seed.
ORDER, AUGMENTATION, INTERPOLATION, CLASSES, MEMBERS = range(5)


@dataclasses.dataclass(eq=False)
class TrainBatches:
    """The training batches of a run.

    Step s belongs to epoch s // steps_per_epoch. Each epoch is a new permutation of the
    split; the last images, too few for a batch, are left out. With sampling "balanced",
    the classes are drawn equally often instead, and each class gives its images in one
    permutation after another. A process makes consecutive rows of the global batch,
    which is the same for any number of processes.

    With repeats r, a batch has B / r images, all of them once, then once more, r times
    (Hoffer et al. 2020, "Augment Your Batch"); an epoch has 1 / r of the split, as with
    torchvision's RASampler. Mixup mixes neighbours, which are different images so.

    Raises:
      UsageError: a setting cannot work.
    """

    source: Source  # the training split
    data: DataConfig
    _: dataclasses.KW_ONLY
    seed: int
    batch_size: int  # of all processes together
    share: tuple[int, int] = (0, 1)  # (i, n): part i, from 0, of n equal parts
    room: int = 0  # bytes in which decoded images stay for later epochs
    check: Callable[[], None] = lambda: None  # before each batch; may raise RunError

    def __post_init__(self) -> None:
        """Checks the settings."""
        data, batch_size, num_images = self.data, self.batch_size, len(self.source)
        if batch_size > num_images:
            raise UsageError(
                f"--config.batch_size={batch_size}: more than the {num_images:,}"
                f" training images; choose at most {num_images}"
            )
        if batch_size % data.repeats:
            raise UsageError(
                f"--config.data.repeats={data.repeats}: must divide the batch size,"
                f" {batch_size}; with --config.batch_size="
                f"{max(1, batch_size // data.repeats) * data.repeats} it does"
            )
        is_jittered = data.train_crop == "scale_jitter_crop"
        if is_jittered and data.scale_min < data.image_size:
            raise UsageError(
                f"--config.data.scale_min={data.scale_min}: must be at least image_size"
                f" {data.image_size}; leave it out, and it follows image_size"
            )
        check_view(data)
        _check_decode_side(data)
        self._rows = process_rows(batch_size, self.share)
        self.steps_per_epoch = num_images // batch_size
        self._members: list[np.ndarray] = []  # the images of each class
        if data.sampling == "balanced":
            labels = self.source.labels
            self._members = [np.flatnonzero(labels == k) for k in np.unique(labels)]
        self._images = KeptImages(self.source, data, self.room)
        self.skipped: set[str] = set()  # names of images that could not be read

    @classmethod
    def of_run(
        cls, config: ConfigDict, dataset: Any, mesh: Mesh, *, keep: bool = True
    ) -> "TrainBatches":
        """Returns the part of a run's batches that this process makes.

        With ``keep``, decoded images stay in memory, if all have room: for whole runs.
        """
        source = dataset.splits["train"]
        return cls(
            source,
            config.data,
            room=room_for(source, config.data) if keep else 0,
            check=dataset.check,
            seed=config.seed,
            batch_size=config.batch_size,
            share=batch_share(mesh),
        )

    def batch(self, step: int) -> Batch:
        """Makes this process's part of the batch of a step, before ``device.augment``.

        Returns:
          "image" uint8 [B / n, image_size, image_size, channels] and "label" int32
          [B / n], of a batch of B images.
        """
        self.check()
        data, indices = self.data, self._indices(step)
        generator = np.random.default_rng((self.seed, AUGMENTATION, step))
        shape = (self.batch_size, transforms.NUM_CROP_UNIFORMS + 1)
        uniforms = generator.random(shape)[self._rows]

        images, labels = self._views(indices, uniforms, self._methods(step))
        if data.train_crop == "affine":
            images = transforms.affine(images, uniforms[:, :6])
        return {"image": images, "label": labels}

    def evaluation_views(self, step: int, number: int) -> np.ndarray:
        """Returns the first images of a batch in the view for evaluation, uint8."""
        read = functools.partial(read_image, self.source, data=self.data)
        images = (self._read(index, read)[0] for index in self._indices(step)[:number])
        return np.stack([evaluation_view(image, self.data) for image in images])

    def iterate(self, start_step: int, stop_step: int) -> Generator[Batch, None, None]:
        """Yields the batches from start_step to before stop_step; threads work ahead.

        The threads end with the iterator: at its end, its close(), or an error.
        """
        threads = num_threads(self.source, self.data)
        return prefetch(self.batch, start_step, stop_step, threads)

    def _indices(self, step: int) -> np.ndarray:
        num_images = self.batch_size // self.data.repeats
        rows = np.arange(self.batch_size)[self._rows] % num_images
        if self._members:
            draws = (step * num_images + rows).tolist()
            return np.array([self._balanced(draw) for draw in draws])
        epoch, position = divmod(step, self.steps_per_epoch)
        order = _epoch_order(self.seed, epoch, len(self.source))
        return order[position * num_images + rows]

    def _balanced(self, draw: int) -> int:
        """Returns the image of a draw; each round of draws has each class once."""
        lap, place = divmod(draw, len(self._members))
        index = _permutation(self.seed, CLASSES, lap, len(self._members))[place]
        members = self._members[index]
        number, place = divmod(lap, len(members))
        key = MEMBERS, int(index), number
        return members[_permutation(self.seed, *key, len(members))[place]]

    def _methods(self, step: int) -> Sequence[int | None]:
        """Returns how to resize each image; None: as `transforms` chooses."""
        if self.data.interpolation != "random":
            return [None] * (self._rows.stop - self._rows.start)
        generator = np.random.default_rng((self.seed, INTERPOLATION, step))
        choices = generator.integers(0, len(transforms.INTERPOLATIONS), self.batch_size)
        return [transforms.INTERPOLATIONS[choice] for choice in choices[self._rows]]

    def _views(
        self, indices: np.ndarray, uniforms: np.ndarray, methods: Sequence[int | None]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns images of image_size px, cut at random or whole, and their labels."""
        source, data, size = self.source, self.data, self.data.image_size
        if data.train_crop in WHOLE_CROPS and isinstance(source, ArraySource):
            height, width = source.images.shape[1:3]
            is_padded = data.fit == "pad" and max(height, width) <= size
            if is_padded or height == width == size:  # faster than one by one
                images = transforms.pad_to(source.images[indices], size)
                return images, source.labels[indices]
        images = np.empty((len(indices), size, size, data.channels), np.uint8)
        labels = np.empty(len(indices), np.int32)
        mirrors = data.flip and data.train_crop not in WHOLE_CROPS
        for row, index in enumerate(indices):
            image, labels[row] = self._read(index, self._images.read)
            view = _training_view(image, uniforms[row], data, methods[row])
            is_mirrored = mirrors and uniforms[row, -1] < 0.5
            images[row] = transforms.flip(view) if is_mirrored else view
        return images, labels

    def _read(self, index: int, read: Any) -> tuple[np.ndarray, int]:
        """Reads an image or, if it is skipped, the next readable one of the split."""
        for i in range(len(self.source)):
            candidate = (index + i) % len(self.source)
            image, label = read(candidate)
            if image is not None:
                return image, label
            self.skipped.add(self.source.name(candidate))
        raise RunError(
            f"{self.source.name(0)}: not a readable image; none of the"
            f" {len(self.source):,} training images is; check the files"
        )


def evaluation_batches(
    source: Source, data: DataConfig, batch_size: int, share: tuple[int, int] = (0, 1)
) -> Generator[Batch, None, None]:
    """Yields every example of a split exactly once, in order, as `load_batch` does.

    `batch_size` and `share` are as in `TrainBatches`. All processes get the same number
    of batches; the mask is false after the end of the split. "index" int32 has the
    positions in the split.
    """
    check_view(data)
    rows = process_rows(batch_size, share)

    def batch(step: int) -> Batch:
        indices = np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int32)
        return {"index": indices[rows]} | load_batch(source, indices[rows], data)

    num_batches = -(-len(source) // batch_size)
    return prefetch(batch, 0, num_batches, num_threads(source, data))


def _training_view(
    image: Any, uniforms: np.ndarray, data: DataConfig, method: int | None
) -> np.ndarray:
    """Cuts image_size px out of an image's ``source_view`` at random."""
    size = data.image_size
    if data.train_crop == "random_resized_crop":
        return transforms.random_resized_crop(
            image, uniforms[:-1], size=size, min_area=data.min_area, method=method
        )
    if data.train_crop == "scale_jitter_crop":
        scales = data.scale_min, data.scale_max
        return transforms.scale_jitter_crop(
            image, uniforms[:3], size=size, scales=scales, method=method
        )
    if data.train_crop == "square_crop":
        return transforms.square_crop(image, uniforms[:2], size=size)
    if data.train_crop == "ten_crop":
        return transforms.five_place_crop(image, uniforms[0], size=size)
    return image


def _check_decode_side(data: DataConfig) -> None:
    cut = {
        "random_resized_crop": data.image_size,
        "scale_jitter_crop": data.scale_max,
    }.get(data.train_crop, max(data.image_size, data.eval_resize))
    if 0 < data.decode_side < cut:
        raise UsageError(
            f"--config.data.decode_side={data.decode_side}: must be 0, or at least"
            f" {cut}, the px that are cut; write --config.data.decode_side={cut}"
        )


def process_rows(batch_size: int, share: tuple[int, int]) -> slice:
    """Returns the rows of a batch that a process makes."""
    index, count = share
    if batch_size % count:
        raise UsageError(
            f"--config.batch_size={batch_size}: must be a multiple of the"
            f" {count} processes"
        )
    num_rows = batch_size // count
    return slice(index * num_rows, (index + 1) * num_rows)


@functools.lru_cache(maxsize=4096)  # of the classes, with 1,000 classes
def _permutation(*numbers: int) -> np.ndarray:
    """Returns a permutation of the last number, by a generator of the others."""
    return np.random.default_rng(numbers[:-1]).permutation(numbers[-1])


@functools.lru_cache(maxsize=2)  # prefetching needs two epochs around their border
def _epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    return np.random.default_rng((seed, ORDER, epoch)).permutation(size)


def prefetch(
    batch: Callable[[int], Batch], start: int, stop: int, threads: int
) -> Generator[Batch, None, None]:
    """Calls batch(step) ahead of time, each step in one of the threads."""
    import grain

    steps = grain.MapDataset.range(start, stop).map(batch)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 1)
    batches = iter(steps.to_iter_dataset(options))
    batches.start_prefetch()  # works while the caller compiles

    def consume() -> Generator[Batch, None, None]:
        with contextlib.closing(batches):
            yield from batches

    return consume()
