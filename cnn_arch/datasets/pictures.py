"""The pictures of a user's folder: divided, inspected, and compared with a run's."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cnn_arch import same_run, units
from cnn_arch.data.folder import FileSource
from cnn_arch.data.sources import SKIP
from cnn_arch.datasets import inspection
from cnn_arch.datasets.division import SPLITS, Division, Row, divide_folder, read_rows
from cnn_arch.datasets.inspection import CHANGED, Inspection
from cnn_arch.datasets.listing import Folder, list_folder
from cnn_arch.errors import RunError, UsageError
from cnn_arch.screen import Screen, printable

MAX_LISTED = 100  # broken images on the screen
MISSING = "is missing"


@dataclasses.dataclass(frozen=True)
class Use:
    """What a command needs the data for."""

    screen: Screen
    workdir: Path | None = None  # of a run; its division counts, if it has begun
    split: str = ""  # the split to evaluate; "": the data is for training
    accepts_others: bool = False  # divides pictures anew if none is of the run

    @classmethod
    def of_evaluation(
        cls, screen: Screen, workdir: Path, split: str, given: Mapping[str, str]
    ) -> "Use":
        """Returns what eval.py needs; ``given``: its options.

        A file of weights is of a run if it is in its directory.
        """
        run = Path(given["weights"]).parent if "weights" in given else workdir
        has_run = "weights" not in given or (run / "split.csv").exists()
        others = "weights" in given or "features" in given
        return cls(screen, run if has_run else None, split, others)


@dataclasses.dataclass
class Pictures:
    """The divided pictures of a folder, and those that cannot be used."""

    images: FileSource  # labels are in the order of `class_names`
    class_names: tuple[str, ...]
    division: Division
    inspection: Inspection
    use: Use
    notes: list[str]  # for warnings
    unread: set[int] = dataclasses.field(default_factory=set)  # found while decoding

    def __post_init__(self) -> None:
        """Inspects the images that are needed soon."""
        division, screen = self.division, self.use.screen
        if self.use.split and division.is_begun:
            self.inspection.compare(division.images(self.use.split), screen)
        elif not self.use.split:
            first = [division.images(split) for split in ("test", "validation")]
            self.inspection.run(np.concatenate(first), screen)
            seconds = inspection.MAX_SECONDS
            self.inspection.run(division.images("train"), screen, seconds=seconds)
        self._known = set(self.inspection.faults)

    def splits(self) -> dict[str, np.ndarray]:
        """Returns the indices of the images that each split uses."""
        unused = self._unused()
        # A run that has begun keeps the order of the others in its training.
        keeps_order = self.division.is_begun and not self.use.split
        return {
            split: self.division.usable(
                split, unused, replace=keeps_order and split == "train"
            )
            for split in self.division.splits
        }

    def rows(self) -> list[Row]:
        """Returns the lines of split.csv."""
        return self.division.marked(self._unused())

    def skipped(self) -> dict[str, str]:
        """Returns what is wrong with each image that is not used, by its path."""
        splits = (self.use.split,) if self.use.split else SPLITS
        wrong = {
            os.path.join(self.images.root, file): MISSING
            for file in self.division.missing(splits)
        }
        chosen = np.concatenate([self.division.images(split) for split in splits])
        for index in np.intersect1d(chosen, list(self._unused())).tolist():
            fault = self.inspection.faults.get(index, "not a readable image")
            wrong[self.images.name(index)] = fault
        return wrong

    def refuse_skipped(self) -> None:
        """Refuses a training without all its images, and names the others.

        Raises:
          UsageError: an image cannot be used.
        """
        wrong = list(self.skipped().items())
        if not wrong:
            return
        for name, fault in wrong[:MAX_LISTED] if len(wrong) > 1 else ():
            self.use.screen.say("broken", f"{printable(name)}: {fault}")
        name, fault = wrong[0]
        fix = f"add {SKIP}" + " to leave it out" * self.division.is_begun
        if not self.division.is_begun:
            fix = f"delete it, or {fix}"
        elif fault in (CHANGED, MISSING):
            fix = f"put it back, or {fix}"
        num_images = len(self.division.rows)
        raise UsageError(
            f"{name}: {fault}; {fix} ({len(wrong):,} of {num_images:,} files)"
        )

    def check_changes(self) -> None:
        """Checks what was inspected since the training started.

        Raises:
          RunError: an image is not the one that the run began with.
        """
        for index, fault in list(self.inspection.faults.items()):
            if fault == CHANGED and index not in self._known:
                raise RunError(
                    f"{self.images.name(index)}: {CHANGED}; put it back, and repeat"
                    " the command"
                )

    def note_unused(self) -> None:
        """Notes what an evaluation leaves out, and classes without an image."""
        for fault in set(self.skipped().values()) if self.use.split else ():
            names = [name for name, each in self.skipped().items() if each == fault]
            self._note(names, f"of the {self.use.split} split: the image {fault}")
        if self.division.is_begun and self.division.unknown:
            names = [self.images.name(index) for index in self.division.unknown]
            self._note(names, "not in the split.csv of the run, not used")
        for split, indices in self.splits().items():
            labels = self.images.labels[indices]
            has_images = np.isin(range(len(self.class_names)), labels)
            if split in (self.use.split or SPLITS) and not has_images.all():
                first = self.class_names[int(has_images.argmin())]
                self.notes.append(
                    f"no {split} images of {np.sum(~has_images):,} of the"
                    f" {len(has_images):,} classes, {printable(first)} the first"
                )

    def _note(self, names: list[str], what: str) -> None:
        first = printable(names[0])
        count = units.counted(len(names), "image")
        self.notes.append(f"{count} {what}; {first} is the first")

    def _unused(self) -> set[int]:
        return set(self.inspection.faults) | self.unread


def open_pictures(data: Any, name: str, use: Use, num_threads: int) -> Pictures:
    """Finds, divides and inspects the pictures of ``config.data``.

    Raises:
      UsageError: the folder cannot be used, or has none of a run's pictures.
    """
    folder = list_folder(data.dir)
    notes = list(folder.notes)
    division = _division_of_run(folder, data.dir, use, notes)
    if division is None:
        rows = divide_folder(folder, data.test_split, data.validation_fraction, name)
        division = Division(folder, rows, is_begun=False)
    class_names = division.class_names()
    # A class of the folder that the run does not have is of unknown images only.
    numbers = {class_name: i for i, class_name in enumerate(class_names)}
    labels = np.array([numbers.get(each, -1) for each in folder.class_names], np.int32)
    images = dataclasses.replace(folder.images, labels=labels[folder.images.labels])
    used = np.concatenate([division.images(split) for split in SPLITS])
    inspected = Inspection(images, used, data, num_threads)
    table = use.workdir / inspection.FILE if use.workdir else None
    if table and division.is_begun and table.exists():
        inspected.remember(table)
    return Pictures(images, class_names, division, inspected, use, notes)


def _division_of_run(
    folder: Folder, directory: str, use: Use, notes: list[str]
) -> Division | None:
    """Returns the division in a run's split.csv, or None to divide anew."""
    if use.workdir is None:
        return None
    path = use.workdir / "split.csv"
    is_kept = same_run.is_worth_keeping(use.workdir)
    if not (is_kept or (use.split and path.exists())):
        return None
    if not path.exists():
        raise UsageError(
            f"{path}: the run's division of the images is missing; put the file back,"
            " or start again with another --workdir"
        )
    division = Division(folder, read_rows(path), is_begun=True)
    if (division.places >= 0).any():
        return division
    num_images = len(folder.images)
    if use.accepts_others:
        notes.append(f"none of the {num_images:,} images is of the run's data")
        return None
    place = os.path.join(directory, os.path.dirname(folder.images.files[0]))
    fix = f"classify them, as with --images={place}"
    raise UsageError(
        f"--config.data.dir={directory}: none of its {num_images:,} images is in"
        f" {path}; give the run's data, or "
        + (fix if use.split else "choose another --workdir")
    )
