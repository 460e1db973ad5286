"""ImageNet of 2012: from the official archives, Kaggle's layout or unpacked folders.

Labels are the places of the synsets in TFDS's list.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import tensorflow_datasets as tfds

from cnn_arch.data.folder import as_written, subfolders
from cnn_arch.data.records import SHORT_SIDE, imagenet_class_names
from cnn_arch.errors import UsageError
from cnn_arch.preparation import archives, ground_truth, images, published
from cnn_arch.preparation.archives import Entry
from cnn_arch.preparation.ground_truth import VALIDATION_NAME
from cnn_arch.preparation.plan import Example, Part, Plan, check_counts, origin_of
from cnn_arch.preparation.published import Published
from cnn_arch.screen import Screen

TRAIN, VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
FOLDERS = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC")  # the last: Kaggle's
CLASSES_A_FILE = 4  # so that training opens hundreds of files, not thousands
IMAGES_A_FILE = 5_000  # of validation
NUM_SAMPLED = 32  # images whose smaller size is measured

Labelled = tuple[Entry, int]


class Class(NamedTuple):
    """The training images of a class."""

    synset: str
    num_bytes: int
    entries: Callable[[], Sequence[Entry]]
    num_images: int = -1  # unknown until its archive is read


def plan_imagenet(
    source: Path, data_dir: Path, short_side: int, known: Published
) -> Plan:
    """Finds the images of ImageNet.

    Args:
      source: a folder with the two archives, with Kaggle's folder ILSVRC, or with
        train/SYNSET/*.JPEG and val/*.JPEG or val/SYNSET/*.JPEG.
      data_dir: TFDS's, in which the data set will be.
      short_side: of the images that are stored, px; 0: as they are.
      known: the published data set.

    Raises:
      UsageError: images are missing, or have other labels than the published ones.
    """
    given = f"--from={source}"
    synsets = ground_truth.read_list("labels.txt")
    numbers = {synset: number for number, synset in enumerate(synsets)}
    classes = _find_classes(source, given)
    if wrong := [each.synset for each in classes if each.synset not in numbers]:
        raise UsageError(
            f"{given}: {wrong[0]} is not one of the 1,000 classes of 2012; give the "
            "archives or folders of ILSVRC2012"
        )
    validation = _find_validation(source, given, numbers)
    found = {"validation": len(validation)}
    if all(each.num_images >= 0 for each in classes):
        found["train"] = sum(each.num_images for each in classes)
    check_counts(given, found, {split: known.num_images[split] for split in found})
    parts = [
        _train_part(classes[start : start + CLASSES_A_FILE], numbers, short_side)
        for start in range(0, len(classes), CLASSES_A_FILE)
    ]
    for start in range(0, len(validation), IMAGES_A_FILE):
        chunk = validation[start : start + IMAGES_A_FILE]
        size = sum(entry.size for entry, _ in chunk)
        parts.append(Part("validation", size, partial(_read, chunk, short_side)))
    parts = _with_smaller_sizes(parts, validation, short_side)
    return Plan(
        "imagenet2012",
        known.version,
        folder_of(data_dir, known, short_side),
        {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=synsets),
            "file_name": tfds.features.Text(),
        },
        known.num_images,
        parts,
        origin_of(
            [(each.synset, each.num_bytes) for each in classes]
            + [(entry.name, entry.size) for entry, _ in validation]
        ),
        variant(short_side),
        partial(_check_archives, source, known),
        _class_table(synsets),
    )


def variant(short_side: int) -> str:
    """Returns TFDS's config name of smaller images; "" for the original ones."""
    return f"{SHORT_SIDE}{short_side}" if short_side else ""


def folder_of(data_dir: Path, known: Published, short_side: int) -> Path:
    """Returns the folder of the data set."""
    return data_dir / "imagenet2012" / variant(short_side) / known.version


def _class_table(synsets: Sequence[str]) -> list[tuple[str, str, str]]:
    names = imagenet_class_names()
    rows = [
        (str(number), synset, names[number]) for number, synset in enumerate(synsets)
    ]
    return [("label", "synset", "name"), *rows]


def _find_classes(source: Path, given: str) -> list[Class]:
    """Returns the classes of the training images, in the order of their synsets."""
    path = source / TRAIN
    if path.is_file():
        return [
            Class(Path(each.name).stem, each.size, partial(_list_class, each))
            for each in sorted(archives.list_tar(path))
            if each.name.endswith(".tar")
        ]
    for place in FOLDERS:
        folder = source / place / "train"
        if folder.is_dir():
            return _classes_in(folder, given)
    raise UsageError(
        f"{given}: has neither {TRAIN} nor train/SYNSET/*.JPEG, nor Kaggle's "
        "ILSVRC/Data/CLS-LOC; give their folder"
    )


def _classes_in(folder: Path, given: str) -> list[Class]:
    """Lists folders of images, or the archives of the classes."""
    found = []
    for name in subfolders(folder):
        entries = [
            each for each in archives.list_folder(folder / name) if _is_image(each)
        ]
        size = sum(entry.size for entry in entries)
        found.append(Class(name, size, partial(list, entries), len(entries)))
    if not found:
        for entry in archives.list_folder(folder):
            if entry.name.endswith(".tar"):
                stem = Path(entry.name).stem
                found.append(Class(stem, entry.size, partial(_list_class, entry)))
    if not found:
        raise UsageError(f"{given}: {folder} has no folders of classes; get it again")
    return found


def _list_class(archive: Entry) -> list[Entry]:
    """Lists the images of a class, whose archive may be inside another."""
    found = list(archives.list_tar(archive.path, archive.offset))
    if any(each.offset + each.size > archive.offset + archive.size for each in found):
        raise UsageError(f"{archive.path}: {archive.name} is damaged; get it again")
    return [each for each in found if _is_image(each)]


def _is_image(entry: Entry) -> bool:
    return entry.name.lower().endswith((".jpeg", ".jpg"))


def _find_validation(
    source: Path, given: str, numbers: dict[str, int]
) -> list[Labelled]:
    """Returns the validation images in the order of their names, with their labels."""
    truth = ground_truth.read_list("validation_labels.txt")
    path = source / VALIDATION
    folders = [
        source / place / name for place in FOLDERS for name in ("val", "validation")
    ]
    folder = next(filter(Path.is_dir, folders), None)
    if path.is_file():
        found = [(each, "") for each in archives.list_tar(path)]
    elif folder:
        found = [(each, "") for each in archives.list_folder(folder)]
        for name in subfolders(folder):
            found += [(each, name) for each in archives.list_folder(folder / name)]
    else:
        raise UsageError(
            f"{given}: has neither {VALIDATION} nor val/*.JPEG, nor Kaggle's "
            "ILSVRC/Data/CLS-LOC/val; give their folder"
        )
    labelled = []
    for entry, synset in sorted(found):
        match = VALIDATION_NAME.fullmatch(entry.name)
        if not match or not 1 <= int(match[1]) <= len(truth):
            if _is_image(entry):
                raise UsageError(
                    f"{given}: {entry.name} is not the name of a validation image, "
                    "ILSVRC2012_val_00000001.JPEG to 00050000; get it again"
                )
            continue
        right = truth[int(match[1]) - 1]
        if synset not in ("", right):
            raise UsageError(
                f"{given}: {entry.name} is in the folder {synset}, but shows {right} "
                "by the ground truth; sort the images anew, or give them in one folder"
            )
        labelled.append((entry, numbers[right]))
    ground_truth.check(source, given, truth)
    return labelled


def _train_part(
    classes: Sequence[Class], numbers: dict[str, int], short_side: int
) -> Part:
    def read() -> Iterator[Example]:
        for each in classes:
            label = numbers[each.synset]
            entries = sorted(each.entries())
            yield from _read([(entry, label) for entry in entries], short_side)

    return Part("train", sum(each.num_bytes for each in classes), read)


def _read(labelled: Sequence[Labelled], short_side: int) -> Iterator[Example]:
    for entry, label in labelled:
        encoded = archives.read(entry)
        name = str(entry.path) if entry.path.name == entry.name else entry.name
        image = images.as_jpeg(encoded, name, short_side, shown=False)
        yield {"image": image, "label": label, "file_name": as_written(entry.name)}


def _with_smaller_sizes(
    parts: Sequence[Part], labelled: Sequence[Labelled], short_side: int
) -> list[Part]:
    """Estimates the sizes of smaller images from some of them."""
    if not short_side:
        return list(parts)
    sampled = labelled[:: max(1, len(labelled) // NUM_SAMPLED)]
    before = sum(entry.size for entry, _ in sampled)
    after = sum(len(each["image"]) for each in islice(_read(sampled, short_side), None))
    share = after / max(1, before)
    return [
        Part(part.split, round(share * part.num_bytes), part.read) for part in parts
    ]


def _check_archives(source: Path, known: Published, screen: Screen) -> None:
    for file, md5 in known.md5.items():
        if (source / file).is_file():
            published.check(source / file, md5, screen)
