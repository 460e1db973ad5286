"""What is to be written: the data set, its parts, and where they come from."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_arch.errors import UsageError
from cnn_arch.screen import Screen

Example = dict[str, Any]  # image: bytes; label: int; what else TFDS has


@dataclasses.dataclass(frozen=True)
class Part:
    """The images of one file of records."""

    split: str
    num_bytes: int  # about
    read: Callable[[], Iterator[Example]]


def no_check(_: Screen) -> None:
    """Checks nothing: no checksums are published, or they are compared already."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """A data set that is to be written."""

    name: str  # TFDS's
    version: str  # TFDS's
    folder: Path  # in which it will be
    features: Mapping[str, Any]  # TFDS's, with the names of the classes
    num_images: Mapping[str, int]  # of each split
    parts: Sequence[Part]  # of each split in their order
    origin: str  # a checksum of what is read: names and sizes, or content
    config: str = ""  # TFDS's word for a variant
    check: Callable[[Screen], None] = (
        no_check  # compares checksums, or reads all images
    )
    classes: Sequence[Sequence[str]] = ()  # rows of classes.csv
    notes: Sequence[str] = ()  # what was found and is not used, for warnings

    @property
    def num_bytes(self) -> int:
        """Returns about how much is written."""
        return sum(part.num_bytes for part in self.parts)


def check_counts(
    given: str, found: Mapping[str, int], published: Mapping[str, int]
) -> None:
    """Compares the numbers of images with those of the published data set.

    Raises:
      UsageError: a split has more or fewer.
    """
    for split, count in published.items():
        if found.get(split, 0) != count:
            raise UsageError(
                f"{given}: has {found.get(split, 0):,} {split} images, not the "
                f"{count:,} that are published; get it again"
            )


def origin_of(lines: Sequence[object]) -> str:
    """Returns a checksum of what a plan reads: a line for each file."""
    return hashlib.sha256("\n".join(map(repr, lines)).encode()).hexdigest()
