"""A user's folder of pictures as a few files of records, with its splits."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import tensorflow_datasets as tfds

from cnn_arch.data.folder import as_written
from cnn_arch.datasets.division import SPLITS, divide_folder
from cnn_arch.datasets.listing import list_folder
from cnn_arch.errors import UsageError
from cnn_arch.parallel import cores
from cnn_arch.preparation import archives, images
from cnn_arch.preparation.archives import Entry
from cnn_arch.preparation.plan import Example, Part, Plan, origin_of
from cnn_arch.screen import Screen

VALIDATION_SHARE = 0.1  # of train, where there is no such folder
MIN_IMAGES_A_FILE = 2_000
MAX_LISTED = 100  # broken pictures on the screen
MAX_FILES = 100  # of a split; training keeps them open


def plan_folder(source: Path, folder: Path, short_side: int) -> Plan:
    """Finds the pictures of a folder and divides them, as a training on it would.

    Args:
      source: a folder with CLASS/*.jpg, or with train/CLASS/*.jpg, val/ and test/.
      folder: in which the records will be.
      short_side: of the pictures that are stored, px; 0: as they are.

    Raises:
      UsageError: the folder cannot be used.
    """
    try:
        found = list_folder(str(source))
        rows = divide_folder(found, "test", VALIDATION_SHARE, source.name)
    except UsageError as error:
        raise UsageError(str(error).replace("--config.data.dir=", "--from=")) from None
    names = list(found.class_names)
    for name in names:
        if not name.isprintable() or name != name.strip():
            raise UsageError(
                f"--from={source}: the class {name!a} cannot be stored, a line of a "
                "text file must hold its name; rename the folder"
            )
    numbers = {name: number for number, name in enumerate(names)}
    sizes = dict(
        zip(found.images.files, found.images.stats[:, 0].tolist(), strict=True)
    )
    parts, num_images, all_images = [], {}, []
    for split in SPLITS:
        chosen = [
            (_entry(source, file, sizes[file]), numbers[name], file)
            for each, name, file in rows
            if each == split
        ]
        all_images += [entry for entry, _, _ in chosen]
        if chosen:
            num_images[split] = len(chosen)
            parts += _parts(split, chosen, short_side)
    features = {
        "image": tfds.features.Image(),
        "label": tfds.features.ClassLabel(names=names),
        "file_name": tfds.features.Text(),
    }
    lines = [*rows, sorted(sizes.items()), short_side]
    return Plan(
        "folder",
        "1.0.0",
        folder,
        features,
        num_images,
        parts,
        origin_of(lines),
        check=partial(_check, all_images),
        notes=found.notes,
    )


Chosen = tuple[Entry, int, str]  # and its label, and its name in the folder


def _entry(source: Path, file: str, size: int) -> Entry:
    path = source / file
    return Entry(path.name, path, 0, size)


def _parts(split: str, chosen: Sequence[Chosen], short_side: int) -> list[Part]:
    count = max(MIN_IMAGES_A_FILE, -(-len(chosen) // MAX_FILES))
    chunks = [chosen[start : start + count] for start in range(0, len(chosen), count)]
    return [
        Part(
            split,
            sum(entry.size for entry, _, _ in chunk),
            partial(_read, chunk, short_side),
        )
        for chunk in chunks
    ]


def _check(entries: Sequence[Entry], screen: Screen) -> None:
    """Decodes each picture.

    Raises:
      UsageError: pictures are broken; all of them are named on the screen.
    """
    with (
        screen.progress("check", len(entries)) as progress,
        ThreadPoolExecutor(cores.usable()) as pool,
    ):
        wrong = []
        for fault in pool.map(_fault, entries):
            progress.advance()
            wrong += [fault] if fault else []
    wrong.sort()
    for fault in wrong[:MAX_LISTED] if len(wrong) > 1 else ():
        screen.say("broken", fault)
    if wrong:
        count = f"{len(wrong):,} of {len(entries):,} files"
        raise UsageError(f"{wrong[0]}; delete it, or get it again ({count})")


def _fault(entry: Entry) -> str:
    try:
        images.check(archives.read(entry), str(entry.path))
    except UsageError as error:
        return str(error)
    return ""


def _read(chosen: Sequence[Chosen], short_side: int) -> Iterator[Example]:
    for entry, label, file in chosen:
        encoded = archives.read(entry)
        if short_side:
            encoded = images.smaller(encoded, str(entry.path), short_side)
        yield {"image": encoded, "label": label, "file_name": as_written(file)}
