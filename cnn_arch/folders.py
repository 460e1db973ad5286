"""The folders of commands: which paths work, which are free, and what is in them."""

import os
import re
import unicodedata
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path

from ml_collections import ConfigDict

from cnn_arch.errors import UsageError
from cnn_arch.files import make_folder, read_json

LOCK = "run.lock"
PREPARED = "prepared.json"  # in a folder of records that prepare.py has written
# Other files (lists, licences) are ignored. From .gif on, the formats cannot be read:
# such an image is reported, not ignored.
SUFFIXES = set(
    ".jpg .jpeg .jpe .jfif .png .webp .bmp .gif .tif .tiff .heic .heif .avif".split()
)
LARGE = 100_000  # images in a folder that recipes for ImageNet are not shortened for
# What may be in the folder of a new run: what a start leaves that was killed before it
# wrote config.json, the files of a scheduler or of the shell, and hidden files.
_EARLY = re.compile(
    rf"{re.escape(LOCK)}|data_fingerprint\.txt|log\.txt|lost\+found|\..*"
    r"|.*\.(log|out|err|[oe][0-9]+)|std(out|err).*"
)
_MAX_PATH_BYTES = 3500  # the system's limit is 4096; orbax's files have long names


def check_path(path: Path) -> Path:
    """Returns a path in which a run can be.

    Raises:
      UsageError: the path has what a library or a terminal would misread.
    """
    text = str(path.resolve())
    wrong = [char for char in text if unicodedata.category(char) in ("Cc", "Cs")]
    # tensorstore takes a backslash for a slash, and orbax gs:/ for a cloud.
    wrong += [part for part in ("\\", "gs:/", "s3:/") if part in text]
    fix = "choose another --workdir"
    if wrong:
        raise UsageError(f"{text}: a run cannot be in a path with {wrong[0]!a}; {fix}")
    if len(os.fsencode(text)) > _MAX_PATH_BYTES:
        raise UsageError(
            f"{text}: the path of a run has at most {_MAX_PATH_BYTES:,} bytes; {fix}"
        )
    return path


def foreign_names(path: Path) -> list[str]:
    """Returns the names in a folder that no start leaves; a file's own name."""
    if not path.is_dir():
        return [path.name] if path.exists() else []
    return sorted(name for name in os.listdir(path) if not _EARLY.fullmatch(name))


def check_no_others(path: Path) -> None:
    """Checks that a folder has a run, or nothing that matters.

    Raises:
      UsageError: it has files that are not of a run.
    """
    others = foreign_names(path)
    if others and not (path / "config.json").exists():
        raise UsageError(
            f"--workdir={path}: has files that are not of a run ({others[0]}); choose "
            "another"
        )


def is_large(path: str) -> bool:
    """Returns whether a folder has ``LARGE`` images or more; counts no further."""
    root = Path(path)
    if (root / PREPARED).is_file():
        with suppress(OSError, ValueError, KeyError, AttributeError, TypeError):
            return sum(read_json(root / PREPARED)["num_images"].values()) >= LARGE
    names = (name for _, _, files in os.walk(root, followlinks=True) for name in files)
    images = filter(is_image_name, names)
    return next(islice(images, LARGE - 1, None), None) is not None


def is_image_name(name: str) -> bool:
    """Returns whether a file's name ends as an image's does."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def next_free(folder: Path, stem: str) -> Path:
    """Returns the path ``STEM-N`` in the folder, with an N above all that are there."""
    names = os.listdir(folder) if folder.is_dir() else []
    ends = [name.removeprefix(f"{stem}-") for name in names if name.startswith(stem)]
    taken = [int(end) for end in ends if re.fullmatch("[0-9]{1,9}", end)]
    return folder / f"{stem}-{max(taken, default=0) + 1}"


def choose(workdir: str | None, config: ConfigDict, prefix: str = "") -> Path:
    """Returns the directory given, or the next free ``runs/[PREFIX]MODEL-DATA-N``.

    Raises:
      UsageError: a run cannot be in this path.
    """
    if workdir:
        return check_path(Path(workdir))
    stem = f"{prefix}{config.model.name}-{config.data.name or config.data.source}"
    return check_path(next_free(Path("runs"), stem.replace("/", "-")))


def make(
    workdir: str | None, config: ConfigDict, cleanup: ExitStack, prefix: str = ""
) -> Path:
    """Makes the directory of ``choose``; a new one is for this command alone.

    ``cleanup`` removes it at the end of the command, if it is still empty.
    """
    path = choose(workdir, config, prefix)
    while not make_new(path, cleanup) and not workdir:
        path = choose(workdir, config, prefix)  # another command took it meanwhile
    return path


def make_new(path: Path, cleanup: ExitStack) -> bool:
    """Makes a folder; returns whether it did not exist before.

    ``cleanup`` removes what was made, if it is still empty then.

    Raises:
      UsageError: the folder cannot be made.
    """
    made = [each for each in (path, *path.parents) if not each.exists()]
    make_folder(path.parent, f"--workdir={path}")
    try:
        path.mkdir()  # of two commands at the same time, one makes it
    except FileExistsError:
        return False
    except OSError as error:
        raise UsageError(f"--workdir={path}: {error.strerror}") from None
    cleanup.callback(_remove_empty, made)
    return True


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):  # one is not empty
        for path in folders:
            path.rmdir()
