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
    """Gives a draft to write, which then takes the place of the file.

    If writing fails, the file is as it was and the draft is gone. The folder of the
    file is made if it is not there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_of(path)
    try:
        yield draft
        os.replace(draft, path)
    except BaseException:
        if draft.is_file():
            draft.unlink()
        raise


def draft_of(path: Path) -> Path:
    """Returns where a file is written; a killed process may leave it there."""
    return path.with_name(f".draft-{path.name}")  # keeps the suffix, which some read


def write_text(path: Path, text: str) -> None:
    """Writes a text file."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Writes a CSV file, the header first."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(path, text.getvalue())


def make_folder(folder: Path, option: str) -> None:
    """Makes the folder that an option names, if it is not there.

    Raises:
      UsageError: there can be no such folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{option}={folder}: is a file; give a folder") from None
    except OSError as error:
        raise UsageError(f"{option}={folder}: {error.strerror}") from None


def free_bytes(path: Path) -> int:
    """Returns what is free on the disk that a path is on, or will be on."""
    return shutil.disk_usage(next(filter(Path.exists, (path, *path.parents)))).free
