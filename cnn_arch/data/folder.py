"""Files of images, found by their names and read within limits."""

import dataclasses
import os
import stat
from pathlib import Path

import numpy as np

from cnn_arch.data import decoding
from cnn_arch.folders import is_image_name


@dataclasses.dataclass(frozen=True)
class FileSource:
    """Encoded images, one per file."""

    root: str
    files: list[str]  # relative to `root`
    labels: np.ndarray  # int32 [N]
    stats: np.ndarray  # int64 [N, 3]: bytes, and when modified and changed, ns

    def __len__(self) -> int:
        """Counts the images."""
        return len(self.files)

    def name(self, index: int) -> str:
        """Returns the path of an image."""
        return os.path.join(self.root, self.files[index])

    def example(self, index: int) -> tuple[bytes, int]:
        """Reads the file of an image and returns its bytes and label."""
        return read_image_file(self.name(index)), int(self.labels[index])

    def take(self, indices: np.ndarray) -> "FileSource":
        """Selects images by their indices."""
        files = [self.files[i] for i in indices]
        return FileSource(self.root, files, self.labels[indices], self.stats[indices])

    def identity(self) -> bytes:
        """Returns names, labels and sizes, to fingerprint the images on any machine."""
        names = "\0".join(name.replace(os.sep, "/") for name in self.files)
        return os.fsencode(names) + self.labels.tobytes() + self.stats[:, 0].tobytes()


def as_written(file: str) -> str:
    """Returns a name as in a run's tables: bytes that are not UTF-8 are escaped."""
    return file.encode("utf-8", "backslashreplace").decode().replace(os.sep, "/")


def image_files(folder: Path) -> list[os.DirEntry]:
    """Lists the image files directly in a folder by name; none if it does not exist."""
    return [
        entry
        for entry in visible_entries(folder)
        if is_image_name(entry.name) and entry.is_file()
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
        images = filter(is_image_name, filter(_is_visible, sorted(names)))
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
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise decoding.UnreadableImageError("not a file")
            return file.read(min(found.st_size, decoding.MAX_FILE_BYTES + 1))
    except OSError as error:
        raise decoding.UnreadableImageError(error.strerror) from None


def _is_visible(name: str) -> bool:
    return not name.startswith((".", "__MACOSX"))  # the latter: of macOS zips


def visible_entries(folder: Path) -> list[os.DirEntry]:
    """Lists the entries of a folder by name; none if it does not exist."""
    entries = os.scandir(folder) if folder.is_dir() else ()
    visible = (entry for entry in entries if not entry.name.startswith("."))
    return sorted(visible, key=lambda entry: entry.name)


def subfolders(folder: Path) -> list[str]:
    """Lists the names of the visible folders in a folder."""
    return [
        entry.name
        for entry in visible_entries(folder)
        if entry.is_dir() and not entry.name.startswith("__MACOSX")  # of macOS zips
    ]


def count_images(root: str | Path) -> int:
    """Counts the images in a folder and its sub-folders."""
    return sum(is_image_name(name) for _, _, names in os.walk(root) for name in names)
