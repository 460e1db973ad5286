"""A folder of images: DIR/{train,val,test}/CLASS/* or DIR/CLASS/*."""

import dataclasses
import difflib
import os
from pathlib import Path

import numpy as np

from cnn_arch.data import transforms
from cnn_arch.errors import UsageError

SPLITS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
# Files of other kinds (lists, licences) are passed over. The last row is of formats
# that cannot be read: such a picture is reported, not left out in silence.
SUFFIXES = set(
    ".jpg .jpeg .jpe .jfif .png .webp .bmp .gif .tif .tiff .heic .heif .avif".split()
)


@dataclasses.dataclass(frozen=True)
class FileSource:
    """Encoded images, each a file below `root`."""

    root: str
    files: list[str]  # relative to root
    labels: np.ndarray  # int32 [N]
    num_bytes: np.ndarray  # int64 [N]

    def __len__(self) -> int:
        """Counts the images."""
        return len(self.files)

    def name(self, index: int) -> str:
        """Names an image in messages."""
        return os.path.join(self.root, self.files[index])

    def example(self, index: int) -> tuple[bytes, int]:
        """Reads the file of an image, and its label."""
        size = min(int(self.num_bytes[index]), transforms.MAX_FILE_BYTES + 1)
        with open(self.name(index), "rb") as file:
            return file.read(size), int(self.labels[index])

    def take(self, indices: np.ndarray) -> "FileSource":
        """Selects images by their indices."""
        files = [self.files[i] for i in indices]
        return FileSource(
            self.root, files, self.labels[indices], self.num_bytes[indices]
        )

    def identity(self) -> bytes:
        """Tells these images from others: names, labels and sizes, not the root."""
        names = "\0".join(name.replace(os.sep, "/") for name in self.files)
        return names.encode() + self.labels.tobytes() + self.num_bytes.tobytes()


def find_splits(
    directory: str, *, check_files: bool
) -> tuple[tuple[str, ...], dict[str, FileSource]]:
    """Lists the images of a folder.

    Args:
      directory: holds train/CLASS/* and perhaps val/ and test/, or CLASS/*.
      check_files: look at the first bytes of every file.

    Returns:
      Class names in the order of the labels, and the sources "train", "validation"
      and "test" as far as the folder has them; the only key of a folder without
      splits is "all".

    Raises:
      UsageError: no such folder, no classes in it, classes that differ between the
        splits, or (where checked) files that are no images.
    """
    root = Path(directory)
    if not directory or not root.is_dir():
        raise UsageError(
            f"--config.data.dir={directory}: no such folder; give one that holds"
            " CLASS/*.jpg or train/CLASS/*.jpg"
        )
    folders = _subfolders(root)
    split_folders = [name for name in folders if name.lower() in SPLITS]
    if any(_subfolders(root / name) for name in split_folders):
        by_split = _name_splits(directory, split_folders)
    elif folders and folders != split_folders:
        by_split = {"all": ""}
    else:
        place = os.path.join(directory, *split_folders[:1])
        raise UsageError(
            f"--config.data.dir={directory}: {_count_images(root):,} images but no"
            f" class folders; put them as {place}/CLASS/*.jpg"
            + ("" if split_folders else f" or {directory}/train/CLASS/*.jpg")
        )

    first = next(iter(by_split.values()))  # train, or the folder itself
    class_names = _subfolders(root / first)
    if len(class_names) < 2:
        raise UsageError(
            f"--config.data.dir={directory}: only the class {class_names[0]!r} in"
            f" {os.path.join(directory, first)}; two or more are needed"
        )
    for folder in by_split.values():
        _check_classes(directory, folder, first, class_names)
    splits = {
        split: _list_images(directory, folder, class_names)
        for split, folder in by_split.items()
    }
    labels = next(iter(splits.values())).labels
    for label in set(range(len(class_names))) - set(labels.tolist()):
        empty = os.path.join(directory, first, class_names[label])
        raise UsageError(
            f"--config.data.dir={directory}: no images in {empty}/; put them right in"
            " it, or delete it"
        )
    if check_files:
        _check_readable(splits.values())
    return tuple(class_names), splits


def _subfolders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.is_dir() and not entry.name.startswith((".", "__MACOSX"))
    )


def _image_files(folder: Path) -> list[os.DirEntry]:
    if not folder.is_dir():
        return []
    entries = [
        entry
        for entry in os.scandir(folder)
        if os.path.splitext(entry.name)[1].lower() in SUFFIXES
        and not entry.name.startswith(".")
        and entry.is_file()
    ]
    return sorted(entries, key=lambda entry: entry.name)


def _count_images(root: Path) -> int:
    return sum(
        os.path.splitext(name)[1].lower() in SUFFIXES
        for _, _, names in os.walk(root)
        for name in names
    )


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
    for name in _subfolders(Path(directory, folder)):
        if name not in class_names:
            folded = {known.casefold(): known for known in class_names}
            near = difflib.get_close_matches(name.casefold(), folded, n=1)
            known = [folded[near[0]]] if near else class_names[:3]
            more = "" if near or len(class_names) <= 3 else ", ..."
            raise UsageError(
                f"--config.data.dir={directory}: {folder}/ has class {name!r} which"
                f" {train}/ lacks ({train}/ has {', '.join(map(repr, known))}{more});"
                " rename or delete it"
            )


def _list_images(directory: str, folder: str, class_names: list[str]) -> FileSource:
    files, labels, num_bytes = [], [], []
    for label, class_name in enumerate(class_names):
        for entry in _image_files(Path(directory, folder, class_name)):
            files.append(os.path.join(folder, class_name, entry.name))
            labels.append(label)
            num_bytes.append(entry.stat().st_size)
    return FileSource(
        directory, files, np.array(labels, np.int32), np.array(num_bytes, np.int64)
    )


def _check_readable(sources) -> None:
    broken = []
    for source in sources:
        for i, size in enumerate(source.num_bytes):
            with open(source.name(i), "rb", buffering=0) as file:  # 5 times faster
                if not transforms.is_image(file.read(12)):
                    broken.append((source.name(i), size))
    if broken:
        name, size = broken[0]
        rule = "not a readable image"
        if size:
            rule = "not a JPEG, PNG, WebP or BMP image"
        num_files = sum(map(len, sources))
        raise UsageError(
            f"{name}: {rule} ({size:,} bytes); delete it, or add"
            f" --config.data.skip_broken=true ({len(broken):,} of {num_files:,} files)"
        )
