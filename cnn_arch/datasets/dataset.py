"""Finds the data of a config and divides it into splits."""

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cnn_arch.data import bundled, records, transforms
from cnn_arch.data.bundled import ArraySource
from cnn_arch.data.device import WHOLE_CROPS
from cnn_arch.data.records import RecordSource, prepare_command
from cnn_arch.data.sources import (
    DataConfig,
    Source,
    is_in_memory,
    num_threads,
    read_image,
)
from cnn_arch.datasets.division import Row, divide_arrays
from cnn_arch.datasets.pictures import Pictures, Use, open_pictures
from cnn_arch.errors import RunError, UsageError
from cnn_arch.parallel import cores
from cnn_arch.screen import Screen

Splits = Mapping[str, Source]

ALONE = Use(Screen(quiet=True))  # the data of no run
LARGE = 2**20  # bytes of an image: a photograph, not a small image


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set with its splits."""

    name: str
    class_names: tuple[str, ...]
    splits: Splits  # "train", "validation", and "test" where there is one
    fingerprint: str  # of all images and labels; of files, the names and sizes only
    skipped: frozenset[str]  # names of images that are not used
    pictures: Pictures | None = None  # of a folder

    @property
    def num_classes(self) -> int:
        """Counts the classes."""
        return len(self.class_names)

    def check(self) -> None:
        """Checks what was found out about the images since they were opened.

        Raises:
          RunError: an image is not the one that the run began with.
        """
        if self.pictures:
            self.pictures.check_changes()

    @property
    def split_rows(self) -> Sequence[Row]:
        """Returns split, class and file of each image of a folder."""
        return self.pictures.rows() if self.pictures else ()


def load_dataset(data: DataConfig, use: Use = ALONE) -> Dataset:
    """Opens the data set of `config.data`.

    Raises:
      UsageError: the data is not there, or does not match the config or the run.
    """
    if data.source == "folder" and not records.is_prepared(data.dir):
        return _load_folder(data, use)
    name, class_names, found = _find(data)
    _check_num_classes(data, name, class_names)
    unread: list[str] = []
    for split, source in found.items():
        if isinstance(source, ArraySource):
            _check_labels(source, len(class_names), f"{name}/{split}")
    if is_in_memory(data):
        read = {split: _in_memory(source, data) for split, source in found.items()}
        found = {split: source for split, (source, _) in read.items()}
        unread = [name for _, names in read.values() for name in names]
    labels = {
        # The labels of records are slow to read: their classes are ignored.
        split: np.zeros(len(source), np.int32)
        if isinstance(source, RecordSource)
        else source.labels
        for split, source in found.items()
    }
    parts = divide_arrays(labels, data.test_split, data.validation_fraction, name)
    splits = {split: found[key].take(i) for split, (key, i) in parts.items()}
    fingerprint = _fingerprint(class_names, splits)
    return Dataset(name, class_names, splits, fingerprint, frozenset(unread))


def _load_folder(data: DataConfig, use: Use) -> Dataset:
    name = data.name or os.path.basename(os.path.abspath(data.dir))
    pictures = open_pictures(data, name, use, data.num_threads or cores.usable())
    _check_num_classes(data, name, pictures.class_names)
    if not (use.split or data.skip_broken):
        pictures.refuse_skipped()
    images, chosen = pictures.images, pictures.splits()
    decoded: dict[int, np.ndarray] = {}
    if data.in_memory:
        used = np.unique(np.concatenate(list(chosen.values()))).tolist()
        for index, (image, _) in zip(
            used, _decode(images.take(used), data), strict=True
        ):
            if image is None:
                pictures.unread.add(index)
            else:
                decoded[index] = image
        chosen = pictures.splits()
    for split in [use.split] if use.split in chosen else chosen:
        if not len(chosen[split]):
            raise UsageError(
                f"--config.data.dir={data.dir}: no {split} image can be used; check"
                " the files"
            )
    pictures.note_unused()
    splits: dict[str, Source] = {
        split: images.take(indices) for split, indices in chosen.items()
    }
    if data.in_memory:
        folders = pictures.division.folder.splits
        shapes = {folder: set() for folder in folders}
        for index, image in decoded.items():
            shapes[folders[index]].add(image.shape)
        for split, indices in chosen.items():
            is_mixed = any(len(shapes[folders[i]]) > 1 for i in indices)
            read = [decoded[i] for i in indices]
            names = [images.name(i) for i in indices]
            arrays = _stack(read, data, resize=is_mixed)
            splits[split] = ArraySource(arrays, images.labels[indices], names)
    fingerprint = _fingerprint(pictures.class_names, splits)
    skipped = frozenset(pictures.skipped())
    return Dataset(name, pictures.class_names, splits, fingerprint, skipped, pictures)


def _check_num_classes(
    data: DataConfig, name: str, class_names: tuple[str, ...]
) -> None:
    if data.num_classes not in (0, len(class_names)):
        raise UsageError(
            f"--config.data.num_classes={data.num_classes}: {name} has"
            f" {len(class_names)} classes; leave it at 0 to count them"
        )


def _find(data: DataConfig) -> tuple[str, tuple[str, ...], Splits]:
    """Returns the name, the class names and the splits of the source."""
    if data.source == "mnist5k":
        return "mnist5k", bundled.DIGITS, bundled.mnist5k(data.channels)
    if data.source in bundled.IDX_FILES:
        return data.source, *_find_idx_files(data)
    if data.source == "folder":
        name = data.name or os.path.basename(os.path.abspath(data.dir))
        return name, *records.open_folder(data.dir)
    return data.name, *records.open_splits(data.name, data.dir)


def _find_idx_files(data: DataConfig) -> tuple[tuple[str, ...], Splits]:
    name, files = data.source, bundled.IDX_FILES[data.source]
    if bundled.has_idx_files(name, data.dir):
        sources = bundled.idx_files(name, data.dir, data.channels)
        return files.class_names, sources
    try:
        return records.open_splits(name, data.dir)
    except UsageError:
        raise UsageError(
            f"--config.data.source={name}: no idx files in {data.dir or files.folder},"
            f" and not prepared; prepare it once: {prepare_command(name, data.dir)}"
        ) from None


def _check_labels(source: ArraySource, num_classes: int, name: str) -> None:
    for label in (source.labels.min(), source.labels.max()):
        if not 0 <= label < num_classes:
            raise UsageError(
                f"{name}: label {label} is not in 0 to {num_classes - 1}; the files"
                " belong to another data set"
            )


def _decode(source: Source, data: DataConfig) -> list[tuple[np.ndarray | None, int]]:
    """Reads all images of a source and their labels.

    A photograph that will be resized to image_size as a whole is resized at once.
    """
    is_resized = data.fit == "resize" and data.train_crop in WHOLE_CROPS

    def read(index: int) -> tuple[np.ndarray | None, int]:
        image, label = read_image(source, index, data)
        if image is not None and is_resized and image.nbytes > LARGE:
            size = data.image_size
            image = transforms.resize_centre_crop(image, size, size)
        return image, label

    with ThreadPoolExecutor(num_threads(source, data)) as pool:
        try:
            return list(pool.map(read, range(len(source))))
        except RunError as error:  # nothing has been started yet
            raise UsageError(str(error)) from None


def _in_memory(source: Source, data: DataConfig) -> tuple[ArraySource, list[str]]:
    """Returns a source in memory, and the names of the images that cannot be read."""
    if isinstance(source, ArraySource):
        return source, []
    decoded = _decode(source, data)
    read = [i for i, (image, _) in enumerate(decoded) if image is not None]
    unread = sorted(set(range(len(source))) - set(read))
    names = list(map(source.name, unread))
    if not read:
        raise UsageError(f"{names[0]}: not a readable image, and no other is")
    images = _stack([image for image, _ in decoded if image is not None], data)
    labels = np.array([decoded[i][1] for i in read], np.int32)
    return ArraySource(images, labels, list(map(source.name, read))), names


def _stack(
    images: list[np.ndarray], data: DataConfig, *, resize: bool = False
) -> np.ndarray:
    """Returns one array; images of different sizes are all resized to image_size."""
    if resize or len({image.shape for image in images}) != 1:
        size = data.image_size
        images = [transforms.resize_centre_crop(image, size, size) for image in images]
    return np.array(images, np.uint8)


def _fingerprint(class_names: tuple[str, ...], splits: Splits) -> str:
    digest = hashlib.sha256(os.fsencode("\0".join(class_names)))
    for split, source in splits.items():
        digest.update(split.encode())
        digest.update(source.identity())
    return digest.hexdigest()
