"""Files in tar archives and in folders: listed, then read one at a time.

Nothing is unpacked: a file is read from its place in the archive, and whatever is not a
regular file is ignored.
"""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cnn_arch.data.decoding import MAX_FILE_BYTES
from cnn_arch.data.folder import visible_entries
from cnn_arch.errors import UsageError


class Entry(NamedTuple):
    """A file in an archive or in a folder."""

    name: str  # its own, without folders
    path: Path  # of the archive, or of the file
    offset: int  # of its first byte there
    size: int  # bytes


def list_folder(folder: Path) -> list[Entry]:
    """Lists the visible files of a folder by name."""
    return [
        Entry(entry.name, Path(entry.path), 0, entry.stat().st_size)
        for entry in visible_entries(folder)
        if entry.is_file()
    ]


def list_tar(path: Path, offset: int = 0) -> Iterator[Entry]:
    """Lists the regular files of an uncompressed archive, in its order.

    Args:
      path: of the archive, or of another with this one in it.
      offset: of the first byte of the archive.

    Raises:
      UsageError: the archive is damaged or incomplete.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    if member.isreg():
                        name = os.path.basename(member.name)
                        yield Entry(name, path, member.offset_data, member.size)
                # tarfile takes a cut or damaged header for the end: that has zeros.
                file.seek(archive.offset)
                if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise tarfile.ReadError("unexpected end of data")
    except (tarfile.TarError, OSError) as error:
        raise UsageError(
            f"{path}: damaged or incomplete ({error}); get it again"
        ) from None


def read(entry: Entry) -> bytes:
    """Reads a file.

    Raises:
      UsageError: it is too large, or cannot be read to its end.
    """
    where = entry.path if entry.path.name == entry.name else entry.path / entry.name
    if entry.size > MAX_FILE_BYTES:
        raise UsageError(
            f"{where}: has {entry.size:,} bytes, an image at most {MAX_FILE_BYTES:,}"
        )
    try:
        with entry.path.open("rb") as file:
            file.seek(entry.offset)
            content = file.read(entry.size)
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror}") from None
    if len(content) != entry.size:
        raise UsageError(f"{where}: ends after {len(content):,} bytes; get it again")
    return content
