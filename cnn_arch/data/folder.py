"""A folder of images: DIR/{train,val,test}/CLASS/* or DIR/CLASS/*."""

import dataclasses
import difflib
import os
import stat
from collections.abc import Collection
from pathlib import Path

import numpy as np

from cnn_arch.data import decoding
from cnn_arch.errors import UsageError

SPLITS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
# Other files (lists, licences) are ignored. From .gif on, the formats cannot be read:
# such an image is reported, not ignored.
SUFFIXES = set(
    ".jpg .jpeg .jpe .jfif .png .webp .bmp .gif .tif .tiff .heic .heif .avif".split()
)


@dataclasses.dataclass(frozen=True)
class FileSource:
    """Encoded images, one per file."""

    root: str
    files: list[str]  # relative to `root`
    labels: np.ndarray  # int32 [N]
    num_bytes: np.ndarray  # int64 [N]

    def __len__(self) -> int:
        """Counts the images."""
        return len(self.files)

    def name(self, index: int) -> str:
        """Returns the path of an image."""
        return os.path.join(self.root, self.files[index])

    def example(self, index: int) -> tuple[bytes, int]:
        """Reads the file of an image and returns its bytes and label."""
        size = min(int(self.num_bytes[index]), decoding.MAX_FILE_BYTES + 1)
        with open(self.name(index), "rb") as file:
            return file.read(size), int(self.labels[index])

    def take(self, indices: np.ndarray) -> "FileSource":
        """Selects images by their indices."""
        files = [self.files[i] for i in indices]
        return FileSource(
            self.root, files, self.labels[indices], self.num_bytes[indices]
        )

    def identity(self) -> bytes:
        """Returns names, labels and sizes, to fingerprint the images on any machine."""
        names = "\0".join(name.replace(os.sep, "/") for name in self.files)
        return os.fsencode(names) + self.labels.tobytes() + self.num_bytes.tobytes()


def find_splits(
    directory: str, *, check_files: bool
) -> tuple[tuple[str, ...], dict[str, FileSource]]:
    """Lists the images of a folder with CLASS/*, or train/CLASS/*, val/ and test/.

    With `check_files`, the first bytes of every file are checked.

    Returns:
      Class names in the order of the labels, and the sources by split: "train",
      "validation" and "test" where the folder has them, or "all" without splits.

    Raises:
      UsageError: the folder does not exist or has no classes, a split has another
        class than train, or a checked file is not an image.
    """
    root = Path(directory)
    if not directory or not root.is_dir():
        raise UsageError(
            f"--config.data.dir={directory}: no such folder; give one with"
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
        found = f"only the class {class_names[0]!r}" if class_names else "no class"
        raise UsageError(
            f"--config.data.dir={directory}: {found} in"
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
            f"--config.data.dir={directory}: no images in {empty}/; put images"
            " directly in it, or delete it"
        )
    if check_files:
        _check_readable(splits.values())
    return tuple(class_names), splits


def image_files(folder: Path) -> list[os.DirEntry]:
    """Lists the image files directly in a folder by name; none if it does not exist."""
    return [
        entry
        for entry in _visible_entries(folder)
        if _is_image_name(entry.name) and entry.is_file()
    ]


def image_files_below(folder: str) -> list[str]:
    """Lists the paths with an image's name in a folder and its sub-folders, by name.

    A path need not be of a file. A folder that cannot be listed is in the list too.
    """
    found: list[str] = []
    seen = set()  # a link may lead back to a folder above it
    walk = os.walk(
        folder, followlinks=True, onerror=lambda error: found.append(error.filename)
    )
    for place, folders, names in walk:
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(filter(_is_visible, folders))
        images = filter(_is_image_name, filter(_is_visible, sorted(names)))
        found.extend(os.path.join(place, name) for name in images)
    return found


def read_image_file(path: str) -> bytes:
    """Reads a file, at most one byte more than the limit of images.

    Raises:
      UnreadableImageError: there is no such file, or it cannot be read.
    """

    def opener(path: str, flags: int) -> int:
        return os.open(path, flags | os.O_NONBLOCK)  # else a FIFO waits for a writer

    try:
        with open(path, "rb", opener=opener) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise decoding.UnreadableImageError("not a file")
            return file.read(decoding.MAX_FILE_BYTES + 1)
    except OSError as error:
        raise decoding.UnreadableImageError(error.strerror) from None


def _is_visible(name: str) -> bool:
    return not name.startswith((".", "__MACOSX"))  # the latter: of macOS zips


def _is_image_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _visible_entries(folder: Path) -> list[os.DirEntry]:
    """Lists the entries of a folder by name; none if it does not exist."""
    entries = os.scandir(folder) if folder.is_dir() else ()
    visible = (entry for entry in entries if not entry.name.startswith("."))
    return sorted(visible, key=lambda entry: entry.name)


def _subfolders(folder: Path) -> list[str]:
    return [
        entry.name
        for entry in _visible_entries(folder)
        if entry.is_dir() and not entry.name.startswith("__MACOSX")  # of macOS zips
    ]


def _count_images(root: Path) -> int:
    return sum(_is_image_name(name) for _, _, names in os.walk(root) for name in names)


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
                f"--config.data.dir={directory}: class {name!r} of {folder}/ is not in"
                f" {train}/ ({train}/ has {', '.join(map(repr, known))}{more}); rename"
                " or delete it"
            )


def _list_images(directory: str, folder: str, class_names: list[str]) -> FileSource:
    files, labels, num_bytes = [], [], []
    for label, class_name in enumerate(class_names):
        for entry in image_files(Path(directory, folder, class_name)):
            files.append(os.path.join(folder, class_name, entry.name))
            labels.append(label)
            num_bytes.append(entry.stat().st_size)
    return FileSource(
        directory, files, np.array(labels, np.int32), np.array(num_bytes, np.int64)
    )


def _check_readable(sources: Collection[FileSource]) -> None:
    broken = []
    for source in sources:
        for i, size in enumerate(source.num_bytes):
            with open(source.name(i), "rb", buffering=0) as file:  # 5 x as fast
                if not decoding.is_image(file.read(12)):
                    broken.append((source.name(i), size))
    if broken:
        name, size = broken[0]
        kind = "JPEG, PNG, WebP or BMP" if size else "readable"
        num_files = sum(map(len, sources))
        raise UsageError(
            f"{name}: not a {kind} image ({size:,} bytes); delete it, or add"
            f" --config.data.skip_broken=true ({len(broken):,} of {num_files:,} files)"
        )
