"""Finds the data of a config and divides it into splits."""

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from cnn_arch.data import bundled, decoding, folder, records, transforms
from cnn_arch.data.bundled import ArraySource
from cnn_arch.data.folder import FileSource
from cnn_arch.data.records import RecordSource
from cnn_arch.errors import RunError, UsageError
from cnn_arch.parallel import cores

Source = ArraySource | FileSource | RecordSource
Splits = Mapping[str, Source]
DataConfig = Any  # config.data, a locked ConfigDict: its fields have no static types

SPLIT_SEED = 0  # not config.seed: runs of all seeds have the same splits
TEST_FRACTION = 0.1  # of a folder without splits; validation gets the same


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set with its splits."""

    name: str
    class_names: tuple[str, ...]
    splits: Splits  # "train", "validation", and "test" where there is one
    fingerprint: str  # of all images and labels; of files, the names and sizes only
    split_rows: tuple[tuple[str, str, str], ...]  # split, class, file; of a folder only
    skipped: frozenset[str]  # names of images that could not be read into memory

    @property
    def num_classes(self) -> int:
        """Counts the classes."""
        return len(self.class_names)


def load_dataset(data: DataConfig) -> Dataset:
    """Opens the data set of `config.data`.

    Raises:
      UsageError: the data is not there, or does not match the config.
    """
    name, class_names, found = _find(data)
    if data.num_classes not in (0, len(class_names)):
        raise UsageError(
            f"--config.data.num_classes={data.num_classes}: {name} has"
            f" {len(class_names)} classes; leave it at 0 to count them"
        )
    for split, source in found.items():
        if isinstance(source, ArraySource):
            _check_labels(source, len(class_names), f"{name}/{split}")
    unread: list[str] = []
    if is_in_memory(data):
        decoded = {split: _decoded(source, data) for split, source in found.items()}
        found = {split: source for split, (source, _) in decoded.items()}
        unread = [name for _, names in decoded.values() for name in names]
    splits = _divide(found, data, name)
    is_folder = data.source == "folder"
    return Dataset(
        name=name,
        class_names=class_names,
        splits=splits,
        fingerprint=_fingerprint(class_names, splits),
        split_rows=_split_rows(class_names, splits, data.dir) if is_folder else (),
        skipped=frozenset(unread),
    )


def is_in_memory(data: DataConfig) -> bool:
    """Returns whether the images are decoded arrays, not encoded files."""
    return data.in_memory or data.source in ("mnist5k", "fashion_mnist")


def num_threads(source: Source, data: DataConfig) -> int:
    """Returns the number of threads to read a source with; arrays need only one."""
    if isinstance(source, ArraySource):
        return 1
    return data.num_threads or cores.usable()


def read_image(
    source: Source, index: int, data: DataConfig
) -> tuple[np.ndarray | None, int]:
    """Reads and decodes an example.

    Returns:
      The image, uint8 [height, width, channels] at its own size, and its label. With
      config.data.skip_broken, an image that cannot be read is None.

    Raises:
      RunError: the image cannot be read.
    """
    if isinstance(source, ArraySource):
        return source.images[index], int(source.labels[index])
    encoded, label = source.example(index)
    try:
        shown = data.pixels == "shown"
        return decoding.decode(encoded, data.channels, shown=shown), label
    except decoding.UnreadableImageError as error:
        if data.skip_broken:
            return None, label
        raise RunError(
            f"{source.name(index)}: not a readable image ({error}); delete it, or add"
            f" --config.data.skip_broken=true (1 of {len(source):,} files)"
        ) from None


def _find(data: DataConfig) -> tuple[str, tuple[str, ...], Splits]:
    """Returns the name, the class names and the splits of the source."""
    if data.source == "mnist5k":
        return "mnist5k", tuple("0123456789"), bundled.mnist5k(data.channels)
    if data.source == "fashion_mnist":
        return "fashion_mnist", *_find_fashion_mnist(data)
    if data.source == "tfds":
        return data.name, *records.open_splits(data.name, data.dir)
    name = data.name or os.path.basename(os.path.abspath(data.dir))
    check_files = not (data.skip_broken or data.in_memory)  # decoding checks them
    return name, *folder.find_splits(data.dir, check_files=check_files)


def _find_fashion_mnist(data: DataConfig) -> tuple[tuple[str, ...], Splits]:
    if bundled.has_fashion_mnist(data.dir):
        sources = bundled.fashion_mnist(data.dir, data.channels)
        return bundled.FASHION_MNIST_CLASSES, sources
    try:
        return records.open_splits("fashion_mnist", data.dir)
    except UsageError:
        raise UsageError(
            "--config.data.source=fashion_mnist: no idx files in"
            f" {data.dir or bundled.FASHION_MNIST_DIR}, and not prepared by TFDS; apt"
            " install dataset-fashion-mnist, or give --config.data.dir=FOLDER with"
            " train-images-idx3-ubyte.gz and the other three"
        ) from None


def _check_labels(source: ArraySource, num_classes: int, name: str) -> None:
    for label in (source.labels.min(), source.labels.max()):
        if not 0 <= label < num_classes:
            raise UsageError(
                f"{name}: label {label} is not in 0 to {num_classes - 1}; the files"
                " belong to another data set"
            )


def _decoded(source: Source, data: DataConfig) -> tuple[ArraySource, list[str]]:
    """Returns a source in memory, and the names of the images that cannot be read.

    Images of different sizes are all resized to image_size.
    """
    if isinstance(source, ArraySource):
        return source, []
    with ThreadPoolExecutor(num_threads(source, data)) as pool:
        decoded = list(
            pool.map(lambda i: read_image(source, i, data), range(len(source)))
        )
    images, labels, names, unread = [], [], [], []
    for i, (image, label) in enumerate(decoded):
        if image is None:
            unread.append(source.name(i))
        else:
            images.append(image)
            labels.append(label)
            names.append(source.name(i))
    if len({image.shape for image in images}) != 1:
        size = data.image_size
        images = [transforms.resize_centre_crop(image, size, size) for image in images]
    labels = np.array(labels, np.int32)
    return ArraySource(np.array(images, np.uint8), labels, names), unread


def _divide(found: Splits, data: DataConfig, name: str) -> Splits:
    """Chooses the splits, and carves the missing ones out of train."""
    if "all" in found:
        rest, test = _carve(found["all"], TEST_FRACTION, name)
        train, validation = _carve(rest, TEST_FRACTION / (1 - TEST_FRACTION), name)
        return {"train": train, "validation": validation, "test": test}
    if "train" not in found or data.test_split not in (*found, "test"):
        missing = data.test_split if "train" in found else "train"
        raise UsageError(
            f"{name}: has no split {missing!r} (it has {', '.join(found)}); choose one"
            " of these with --config.data.test_split"
        )
    train = found["train"]
    if "validation" in found and data.test_split != "validation":
        validation = found["validation"]
    else:
        train, validation = _carve(train, data.validation_fraction, name)
    splits = {"train": train, "validation": validation}
    if data.test_split in found:
        splits["test"] = found[data.test_split]
    return splits


def _carve(source: Source, fraction: float, name: str) -> tuple[Source, Source]:
    """Returns the rest and a fraction of each class, the same images in every run."""
    # The labels of records are slow to read: their classes are ignored.
    is_record = isinstance(source, RecordSource)
    labels = np.zeros(len(source), np.int32) if is_record else source.labels
    is_carved = np.zeros(len(source), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) >= 3:  # a smaller class stays whole
            count = max(1, round(fraction * len(members)))
            generator = np.random.default_rng((SPLIT_SEED, label))
            is_carved[generator.permutation(members)[:count]] = True
    if not is_carved.any():
        raise UsageError(
            f"{name}: {len(source):,} images are too few for a validation split; no"
            " class has 3 or more"
        )
    rest, carved = map(np.flatnonzero, (~is_carved, is_carved))
    return source.take(rest), source.take(carved)


def _fingerprint(class_names: tuple[str, ...], splits: Splits) -> str:
    digest = hashlib.sha256(os.fsencode("\0".join(class_names)))
    for split, source in splits.items():
        digest.update(split.encode())
        digest.update(source.identity())
    return digest.hexdigest()


def _split_rows(
    class_names: tuple[str, ...], splits: Splits, directory: str
) -> tuple[tuple[str, str, str], ...]:
    prefix = os.path.join(directory, "")
    return tuple(
        (split, class_names[label], source.name(i).removeprefix(prefix))
        for split, source in splits.items()
        for i, label in enumerate(source.labels)
    )
