"""Files that are written whole or not at all."""

import csv
import io
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cnn_arch.errors import UsageError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a draft to write, which then replaces the file.

    If writing fails, the file keeps its old content and the draft is deleted. The
    file's folder is made if it does not exist.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_of(path)
    try:
        yield draft
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def draft_of(path: Path) -> Path:
    """Returns where a file is first written; a killed process may leave a draft."""
    # The suffix stays: NumPy and matplotlib choose the format by it.
    return path.with_name(f".draft-{path.name}")


def write_text(path: Path, text: str) -> None:
    """Writes a text file."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Writes a CSV file; the first row is the header."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(path, text.getvalue())


def make_folder(folder: Path, option: str) -> None:
    """Makes the folder that an option names, if it does not exist.

    Raises:
      UsageError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{option}={folder}: is a file; give a folder") from None
    except OSError as error:
        raise UsageError(f"{option}={folder}: {error.strerror}") from None


def free_bytes(path: Path) -> int:
    """Returns the free space of the disk of a path, which need not exist yet."""
    return shutil.disk_usage(next(filter(Path.exists, (path, *path.parents)))).free
