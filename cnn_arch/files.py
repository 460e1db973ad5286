"""Files that are written whole or not at all."""

import csv
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cnn_arch.errors import UsageError

MAX_JSON_BYTES = 64 * 2**20  # the largest of ours has a line for each of 1,000 classes


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a draft to write, which then replaces the file.

    If writing fails, the file keeps its old content and the draft is deleted. After a
    power loss the name has the old or the new content, never a part. The file's folder
    is made if it does not exist.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_of(path)
    try:
        yield draft
        sync(draft)
        os.replace(draft, path)
    except BaseException as error:
        with suppress(OSError):  # a read-only disk refuses this too
            draft.unlink(missing_ok=True)
        if isinstance(error, OSError) and str(error.filename) == str(draft):
            error.filename = str(path)  # the name that the user knows
        raise


def sync(path: Path) -> None:
    """Waits until the content of a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def draft_of(path: Path) -> Path:
    """Returns where a file is first written; a killed process may leave a draft."""
    # The suffix stays: NumPy and matplotlib choose the format by it.
    return path.with_name(f".draft-{path.name}")


def write_text(path: Path, text: str) -> None:
    """Writes a text file."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: Path) -> Any:
    """Reads a JSON file that may be damaged, or made to fill the memory.

    Raises:
      OSError: it cannot be read.
      ValueError: it is not JSON, is nested too deeply, or has more than 64 MiB.
    """
    with path.open("rb") as file:
        content = file.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise ValueError(f"more than {MAX_JSON_BYTES // 2**20} MiB")
    try:
        return json.loads(content.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Writes a CSV file; the first row is the header."""
    write_text(path, "".join(map(_csv_line, rows)))


def _csv_line(row: Sequence[Any]) -> str:
    line = io.StringIO()
    # Before Python 3.13, only the characters of the line's end are quoted in a field.
    csv.writer(line, lineterminator="\r\n").writerow(row)
    return line.getvalue().removesuffix("\r\n") + "\n"


def make_folder(folder: Path, given: str) -> None:
    """Makes the folder of an option, ``given`` as ``--OPTION=FOLDER``.

    Raises:
      UsageError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        there = next(each for each in (folder, *folder.parents) if each.exists())
        raise UsageError(
            f"{given}: {there} is not a folder; choose another folder"
        ) from None
    except OSError as error:
        raise UsageError(f"{given}: {error.strerror}") from None


def free_bytes(path: Path) -> int:
    """Returns the free space of the disk of a path, which need not exist yet."""
    return shutil.disk_usage(next(filter(Path.exists, (path, *path.parents)))).free
