"""Divides a data set into training, validation and test images.

The images of a folder are divided by their names, so that an image never changes its
split when others come or go. A run keeps its division in split.csv.
"""

import csv
import dataclasses
import hashlib
import os
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from cnn_arch import units
from cnn_arch.data.folder import as_written
from cnn_arch.datasets.listing import Folder
from cnn_arch.errors import UsageError

SPLITS = "train", "validation", "test"
SKIPPED = "skipped"  # in split.csv, instead of a split or after it
_MARKS = {*SPLITS, SKIPPED, *(f"{split} {SKIPPED}" for split in SPLITS)}
HELD_OUT = {"test": 0.1, "validation": 0.1}  # shares of a folder without splits
SPLIT_SEED = 0  # not config.seed: runs of all seeds have the same splits
MIN_DIVIDED = 3  # a class of a published data set with fewer images stays whole

Row = tuple[str, str, str]  # split, class and file: a line of split.csv


def number(file: str) -> float:
    """Returns a number in [0, 1) that depends on the path of an image alone.

    macOS and Linux may write the same letter differently; both give the same number.
    """
    name = unicodedata.normalize("NFC", file.replace(os.sep, "/"))
    encoded = name.encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(encoded, digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def hold_out(
    numbers: np.ndarray, labels: np.ndarray, shares: Mapping[str, float], name: str
) -> np.ndarray:
    """Returns the split of each image: train, or one of ``shares``.

    Each number decides for its image, so the shares are not exact. Only where a class
    would not be trained on, or a split would be empty, other images count: the largest
    number of the class trains, and the smallest numbers fill the split.

    Raises:
      UsageError: there are too few images; ``name`` is the data's.
    """
    chosen = np.full(len(numbers), "train", "U16")
    low = 0.0
    for split, share in shares.items():
        chosen[(low <= numbers) & (numbers < low + share)] = split
        low += share
    trained = np.bincount(labels[chosen == "train"], minlength=labels.max() + 1)
    for label in np.flatnonzero(trained == 0):
        members = np.flatnonzero(labels == label)
        if len(members):
            chosen[members[numbers[members].argmax()]] = "train"
    for split in shares:
        if not (chosen == split).any():
            trained = np.bincount(labels[chosen == "train"])
            free = (chosen == "train") & (trained[labels] >= 2)  # one stays
            if not free.any():
                raise _too_few(name, len(numbers), split)
            candidates = np.flatnonzero(free)
            chosen[candidates[numbers[candidates].argmin()]] = split
    return chosen


def divide_folder(
    folder: Folder, test_split: str, validation_fraction: float, name: str
) -> list[Row]:
    """Returns a new division of a folder, a row for each image.

    Raises:
      UsageError: there is no such split, or there are too few images.
    """
    files, labels = folder.images.files, folder.images.labels
    splits = np.array(folder.splits, "U16")
    if "" in folder.splits:
        numbers = np.array([number(file) for file in files])
        splits = hold_out(numbers, labels, HELD_OUT, name)
    else:
        found = list(dict.fromkeys(folder.splits))
        _check_splits(found, test_split, name)
        if test_split == "validation":
            splits[splits == "test"] = ""
            splits[splits == "validation"] = "test"
        if "validation" not in splits:
            train = np.flatnonzero(splits == "train")
            # Without "train/": the folder of the split may get another name.
            inside = (files[i].split(os.sep, 1)[1] for i in train)
            numbers = np.array([number(file) for file in inside])
            shares = {"validation": validation_fraction}
            splits[train] = hold_out(numbers, labels[train], shares, name)
    names = [folder.class_names[label] for label in labels]
    return [
        (split, names[i], files[i].replace(os.sep, "/"))
        for split in SPLITS
        for i in np.flatnonzero(splits == split)
    ]


def divide_arrays(
    labels: Mapping[str, np.ndarray], test_split: str, fraction: float, name: str
) -> dict[str, tuple[str, np.ndarray]]:
    """Divides a published data set, whose images have no names of their own.

    Args:
      labels: of the images of each split that the data set has, int32 [N].
      test_split: the data set's split for testing.
      fraction: of train for validation, if the data set has no such split.
      name: the data set's.

    Returns:
      For each split, the data set's split and the positions of the images in it.

    Raises:
      UsageError: there is no such split, or there are too few images.
    """
    _check_splits(list(labels), test_split, name)
    every = {split: np.arange(len(each)) for split, each in labels.items()}
    parts = {"train": ("train", every["train"])}
    if "validation" in labels and test_split != "validation":
        parts["validation"] = "validation", every["validation"]
    else:
        is_carved = _carve(labels["train"], fraction, name)
        parts["train"] = "train", np.flatnonzero(~is_carved)
        parts["validation"] = "train", np.flatnonzero(is_carved)
    if test_split in labels:
        parts["test"] = test_split, every[test_split]
    return parts


def _carve(labels: np.ndarray, fraction: float, name: str) -> np.ndarray:
    """Chooses a fraction of each class, the same images in every run."""
    is_carved = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) >= MIN_DIVIDED:
            count = max(1, round(fraction * len(members)))
            generator = np.random.default_rng((SPLIT_SEED, label))
            is_carved[generator.permutation(members)[:count]] = True
    if not is_carved.any():
        raise _too_few(name, len(labels), "validation")
    return is_carved


def _too_few(name: str, num_images: int, split: str) -> UsageError:
    return UsageError(
        f"{name}: {units.counted(num_images, 'image')}, too few for a {split} split; "
        "add some"
    )


def _check_splits(found: Sequence[str], test_split: str, name: str) -> None:
    if test_split == "train":
        raise UsageError(
            "--config.data.test_split=train: must not be the images of the training;"
            " choose another split"
        )
    if "train" not in found or test_split not in (*found, "test"):
        missing = test_split if "train" in found else "train"
        raise UsageError(
            f"{name}: has no split {missing!r} (it has {', '.join(found)}); choose one"
            " of these with --config.data.test_split"
        )


def read_rows(path: Path) -> list[Row]:
    """Reads the split.csv of a run.

    Raises:
      UsageError: it is damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = [(row["split"], row["class"], row["file"]) for row in reader]
        if not all(map(all, rows)) or not rows:
            raise ValueError("a line is not complete")
        for split, class_name, file in rows:
            if split not in _MARKS or PurePosixPath(file).parent.name != class_name:
                raise ValueError(f"{split},{class_name},{file}: no such line")
    except (OSError, ValueError, KeyError, csv.Error) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise UsageError(
            f"{path}: the run's division of the images cannot be read ({reason}); put"
            " the file back, or start again with another --workdir"
        ) from None
    return rows


@dataclasses.dataclass
class Division:
    """The images of a folder, and the division of a run or a new one."""

    folder: Folder
    rows: list[Row]
    is_begun: bool  # the rows are a run's

    def __post_init__(self) -> None:
        """Finds the image of each row."""
        files = self.folder.images.files
        places = {as_written(file): i for i, file in enumerate(files)}
        found = [places.pop(as_written(file), -1) for _, _, file in self.rows]
        self.places = np.array(found, np.int64)  # of rows; -1: the file is missing
        self.unknown = sorted(places.values())  # images that are in no row
        self._splits = np.array([split.partition(" ")[0] for split, _, _ in self.rows])

    @property
    def splits(self) -> list[str]:
        """Lists the splits that there are."""
        return [split for split in SPLITS if split in self._splits]

    def images(self, split: str) -> np.ndarray:
        """Returns the present images of a split, without those of other splits."""
        places = self.places[self._splits == split]
        return places[places >= 0]

    def missing(self, splits: Collection[str]) -> list[str]:
        """Lists the files of splits that are not in the folder."""
        is_missing = np.isin(self._splits, list(splits)) & (self.places < 0)
        return [self.rows[i][2] for i in np.flatnonzero(is_missing)]

    def usable(self, split: str, faults: Collection[int], *, replace: bool):
        """Returns the images of a split without missing ones and those with faults.

        With ``replace``, the next usable image takes the place of each of these, so
        that all others stay where they are in the order of training.
        """
        places = self.places[self._splits == split]
        is_usable = (places >= 0) & ~np.isin(places, list(faults))
        if not replace:
            return places[is_usable]
        usable = np.flatnonzero(is_usable)
        if not len(usable):
            return usable
        following = np.searchsorted(usable, np.arange(len(places))) % len(usable)
        return places[usable[following]]

    def class_names(self) -> tuple[str, ...]:
        """Returns the classes, a run's in the order of its network's outputs."""
        if not self.is_begun:
            return self.folder.class_names
        found = {as_written(name): name for name in self.folder.class_names}
        train = self._splits == "train"
        ordered = dict.fromkeys(self.rows[i][1] for i in np.flatnonzero(train))
        return tuple(found.get(as_written(name), name) for name in ordered)

    def marked(self, faults: Collection[int]) -> list[Row]:
        """Returns the rows, with a mark at each image that is not used."""
        rows, is_bad = [], (self.places < 0) | np.isin(self.places, list(faults))
        for (_, name, file), split, bad in zip(
            self.rows, self._splits, is_bad, strict=True
        ):
            if bad and split != SKIPPED:
                split = f"{split} {SKIPPED}" if self.is_begun else SKIPPED
            rows.append((str(split), name, file))
        return rows
