"""Lists a folder of images: DIR/{train,val,test}/CLASS/* or DIR/CLASS/*."""

import dataclasses
import difflib
import os
from pathlib import Path

import numpy as np

from cnn_arch import units
from cnn_arch.data.folder import (
    FileSource,
    count_images,
    image_files,
    subfolders,
    visible_entries,
)
from cnn_arch.errors import UsageError
from cnn_arch.folders import is_image_name

SPLITS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


@dataclasses.dataclass(frozen=True)
class Folder:
    """The images of a folder, before they are divided."""

    class_names: tuple[str, ...]  # in the order of the labels
    images: FileSource
    splits: list[str]  # of each image: train, validation or test; "" without splits
    notes: tuple[str, ...]  # what was found and is not used, for warnings


def list_folder(directory: str) -> Folder:
    """Lists the images of a folder with CLASS/*, or train/CLASS/*, val/ and test/.

    Raises:
      UsageError: the folder does not exist or has no classes, or a split has no image,
        or another class than train.
    """
    root = Path(directory)
    if not directory or not root.is_dir():
        raise UsageError(
            f"--config.data.dir={directory}: no such folder; give one with"
            " CLASS/*.jpg or train/CLASS/*.jpg"
        )
    folders = subfolders(root)
    split_folders = [name for name in folders if name.lower() in SPLITS]
    if any(subfolders(root / name) for name in split_folders):
        by_split = _name_splits(directory, split_folders)
    elif folders and folders != split_folders:
        by_split = {"": ""}
    else:
        place = os.path.join(directory, *split_folders[:1])
        found = units.counted(count_images(root), "image")
        raise UsageError(
            f"--config.data.dir={directory}: {found} but no class"
            f" folders; put them as {place}/CLASS/*.jpg"
            + ("" if split_folders else f" or {directory}/train/CLASS/*.jpg")
        )

    first = next(iter(by_split.values()))  # train, or the folder itself
    class_names = subfolders(root / first)
    if len(class_names) < 2:
        found = f"only the class {class_names[0]!r}" if class_names else "no class"
        raise UsageError(
            f"--config.data.dir={directory}: {found} in"
            f" {os.path.join(directory, first)}; two or more are needed"
        )
    listed = _Listing(directory, class_names)
    for split, folder in by_split.items():
        _check_classes(directory, folder, first, class_names)
        listed.add(split, folder)
    if "" not in by_split:
        others = sorted(set(folders) - set(by_split.values()))
        listed.note_unused([name for name in others if _has_images(root / name)])
    elif split_folders:
        taken = ", ".join(f"{name}/" for name in split_folders)
        listed.notes.append(f"{taken} in {directory} is a class: it has no sub-folders")
    return listed.folder()


class _Listing:
    """Collects the images of a folder, split by split."""

    def __init__(self, directory: str, class_names: list[str]):
        self.directory, self.class_names = directory, class_names
        self.notes: list[str] = []
        self._files: list[str] = []
        self._labels: list[int] = []
        self._stats: list[tuple[int, int, int]] = []
        self._splits: list[str] = []

    def add(self, split: str, folder: str) -> None:
        """Lists the images of the classes in a folder, the first one's for training."""
        place, is_first = os.path.join(self.directory, folder), not self._files
        num_outside = len(image_files(Path(place)))
        before = len(self._files)
        for label, class_name in enumerate(self.class_names):
            path = Path(place, class_name)
            entries = visible_entries(path)
            # Whatever has the name of an image is listed: a link that leads nowhere is
            # a broken image.
            images = [e for e in entries if is_image_name(e.name) and not e.is_dir()]
            for entry in images:
                self._files.append(os.path.join(folder, class_name, entry.name))
                self._stats.append(_stat(entry))
            self._labels += [label] * len(images)
            num_outside += sum(count_images(e.path) for e in entries if e.is_dir())
            if not images and is_first:
                raise UsageError(
                    f"--config.data.dir={self.directory}: no images in {path}/; put"
                    " images directly in it, or delete it"
                )
        self._splits += [split] * (len(self._files) - before)
        if len(self._files) == before:
            rule = f"{units.counted(num_outside, 'image')}, but none in a class folder"
            raise UsageError(
                f"--config.data.dir={self.directory}: {place}/ has"
                f" {rule if num_outside else 'no images'}; put them as"
                f" {place}/CLASS/*.jpg, or rename the folder"
            )
        if num_outside:
            count = units.counted(num_outside, "image")
            self.notes.append(
                f"{count} in {place} not directly in a class folder, not used"
            )

    def note_unused(self, folders: list[str]) -> None:
        """Notes folders beside the splits that have images."""
        for name in folders:
            place = os.path.join(self.directory, name)
            self.notes.append(f"{place} is not used: the splits are in other folders")

    def folder(self) -> Folder:
        """Returns all images that were added."""
        labels = np.array(self._labels, np.int32)
        stats = np.array(self._stats, np.int64)
        images = FileSource(self.directory, self._files, labels, stats)
        names, notes = tuple(self.class_names), tuple(self.notes)
        return Folder(names, images, self._splits, notes)


def _stat(entry: os.DirEntry) -> tuple[int, int, int]:
    try:
        found = entry.stat()
    except OSError:  # a link that leads nowhere
        return 0, 0, 0
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _has_images(folder: Path) -> bool:
    """Returns whether a folder has images, directly or in its first sub-folder."""
    inside = (folder, *(folder / name for name in subfolders(folder)[:1]))
    return any(map(image_files, inside))


def _name_splits(directory: str, folders: list[str]) -> dict[str, str]:
    by_split = {}
    for folder in sorted(folders, key=lambda name: SPLITS[name.lower()] != "train"):
        split = SPLITS[folder.lower()]
        if split in by_split:
            raise UsageError(
                f"--config.data.dir={directory}: both {by_split[split]}/ and"
                f" {folder}/ are {split} splits; keep one"
            )
        by_split[split] = folder
    if "train" not in by_split:
        raise UsageError(
            f"--config.data.dir={directory}: has {folders[0]}/ but no train/; put"
            f" training images as {directory}/train/CLASS/*.jpg"
        )
    return by_split


def _check_classes(
    directory: str, folder: str, train: str, class_names: list[str]
) -> None:
    for name in subfolders(Path(directory, folder)):
        if name not in class_names:
            folded = {known.casefold(): known for known in class_names}
            near = difflib.get_close_matches(name.casefold(), folded, n=1)
            known = [folded[near[0]]] if near else class_names[:3]
            more = "" if near or len(class_names) <= 3 else ", ..."
            raise UsageError(
                f"--config.data.dir={directory}: class {name!r} of {folder}/ is not in"
                f" {train}/ ({train}/ has {', '.join(map(repr, known))}{more}); rename"
                " or delete it"
            )
