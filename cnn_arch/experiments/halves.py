"""The two halves of a folder's classes: one to train on, one for another task.

Each is a folder of links to the class folders, in the experiment's folder. The classes
are dealt out in the order of their names, so both halves have about as many images.
"""

from pathlib import Path

from cnn_arch import settings
from cnn_arch.data.folder import subfolders
from cnn_arch.datasets.listing import SPLITS, list_folder
from cnn_arch.errors import UsageError
from cnn_arch.run_directory import read_classes

FOLDER = ".halves"  # hidden: a new sweep's folder must have no other files
FIRST, SECOND = "first", "second"


def first(workdir: Path) -> Path:
    """Returns the folder to train on, in an experiment's folder."""
    return workdir.absolute() / FOLDER / FIRST


def other(directory: str) -> Path:
    """Returns the folder of the other task, beside that of the training."""
    return Path(directory).parent / SECOND


def make(source: Path, workdir: Path) -> None:
    """Links the classes of a folder; links that are there stay.

    Raises:
      UsageError: the folder has fewer than four classes.
    """
    names = list_folder(str(source)).class_names
    if len(names) < 4:
        raise UsageError(
            f"--data_dir={source}: has {len(names)} classes, and two tasks need four "
            "or more; give another folder"
        )
    splits = [name for name in subfolders(source) if name.lower() in SPLITS]
    splits = [name for name in splits if subfolders(source / name)] or [""]
    for half, chosen in ((FIRST, names[::2]), (SECOND, names[1::2])):
        for split in splits:
            place = first(workdir).parent / half / split
            place.mkdir(parents=True, exist_ok=True)
            for name in chosen:
                target, link = source.absolute() / split / name, place / name
                if target.is_dir() and not link.is_symlink():
                    link.symlink_to(target)


def describe(workdir: Path) -> str:
    """Returns the classes of a run's training and of the other task; "": all."""
    path = workdir / "config.json"
    directory = settings.from_json(path).data.dir if path.exists() else ""
    if Path(directory).parent.name != FOLDER:
        return ""
    other_names = list_folder(str(other(directory))).class_names
    trained = ", ".join(read_classes(workdir))
    return f" ({trained}); the other task: {', '.join(other_names)}"
