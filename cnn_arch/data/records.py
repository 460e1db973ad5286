"""A TensorFlow Datasets (TFDS) data set as array_record, read without TensorFlow."""

import contextlib
import dataclasses
import functools
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnn_arch.data.decoding import UnreadableImageError
from cnn_arch.errors import RunError, UsageError
from cnn_arch.files import read_json
from cnn_arch.folders import PREPARED
from cnn_arch.installation import command

# In the folder of a data set that prepare.py has written, beside TFDS's files. The file
# PREPARED has its source and the checksum of all records.
LABELS = "labels.npz"  # of each split
# What prepare.py writes under TFDS's names.
SHORT_SIDE = "short_side_"  # begins the variant with smaller images
PUBLISHED = ("mnist", "fashion_mnist", "cifar10", "cifar100", "imagenet2012")


@dataclasses.dataclass(frozen=True)
class RecordSource:
    """Encoded images and labels, read one record at a time."""

    records: Sequence[dict]  # {"image": bytes, "label": int, ...}
    indices: np.ndarray  # int64 [N], places in `records`
    num_classes: int
    split_name: str  # "cifar10/3.0.2/train"
    checksum: str = ""  # of all records of the data set, where it is known
    all_labels: np.ndarray | None = None  # of `records`, where they are known

    def __len__(self) -> int:
        """Counts the images."""
        return len(self.indices)

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """Returns the labels, int32 [N]; reads every record if it must."""
        if self.all_labels is not None:
            return self.all_labels[self.indices]
        return np.array([self.example(i)[1] for i in range(len(self))], np.int32)

    def name(self, index: int) -> str:
        """Returns the name of an image in messages."""
        return f"{self.split_name}[{self.indices[index]}]"

    def example(self, index: int) -> tuple[bytes, int]:
        """Returns the encoded image of a record and its label.

        Raises:
          RunError: the label is not the number of a class.
          UnreadableImageError: the file of the record is damaged.
        """
        try:
            record = self.records[int(self.indices[index])]
        except (RuntimeError, ValueError, OSError) as error:  # of array_record
            raise UnreadableImageError(str(error).partition(";")[0]) from None
        label = int(record["label"])
        if not 0 <= label < self.num_classes:
            raise RunError(
                f"{self.name(index)}: label {label} is not in 0 to"
                f" {self.num_classes - 1}; choose a split that has labels"
            )
        return record["image"], label

    def take(self, indices: np.ndarray) -> "RecordSource":
        """Selects images by their indices."""
        return dataclasses.replace(self, indices=self.indices[indices])

    def identity(self) -> bytes:
        """Returns name, version, content and places, to fingerprint the images."""
        name = self.split_name + self.checksum
        return name.encode() + self.indices.tobytes()


def imagenet_class_names() -> tuple[str, ...]:
    """Returns the names of ImageNet's 1,000 classes, in the order of their labels."""
    from tensorflow_datasets.datasets.siscore.labels import IMAGENET_LABELS_LIST

    return tuple(name.split(",")[0] for name in IMAGENET_LABELS_LIST)


def is_prepared(directory: str) -> bool:
    """Returns whether a folder is a data set that prepare.py has written."""
    return bool(directory) and Path(directory, PREPARED).is_file()


def open_splits(
    name: str, directory: str
) -> tuple[tuple[str, ...], dict[str, RecordSource]]:
    """Opens every split of a prepared data set by its TFDS name, "imagenet2012:5.1.0".

    The directory is TFDS's data_dir; "" is ~/tensorflow_datasets or $TFDS_DATA_DIR.

    Returns:
      Class names in the order of the labels, and the sources by TFDS's split names.

    Raises:
      UsageError: the data set is not prepared there, is not stored as array_record, or
        does not consist of images and labels.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import read_only_builder

    data_dir = os.path.expanduser(directory) or None
    try:
        builder: Any = read_only_builder.builder_from_files(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        raise UsageError(
            f"--config.data.name={name}: not prepared in"
            f" {directory or '~/tensorflow_datasets'}; prepare it once:"
            f" {prepare_command(name, directory)}"
        ) from None
    return _open(
        builder, f"--config.data.name={name}", prepare_command(name, directory)
    )


def open_folder(directory: str) -> tuple[tuple[str, ...], dict[str, RecordSource]]:
    """Opens every split of a folder that ``is_prepared``, as ``open_splits`` does.

    Raises:
      UsageError: its files are damaged.
    """
    import tensorflow_datasets as tfds

    given = f"--config.data.dir={directory}"
    try:
        builder = tfds.builder_from_directory(directory)
    except Exception as error:  # of TFDS, for missing or damaged files
        reason = str(error).partition("\n")[0]
        raise UsageError(f"{given}: damaged ({reason}); prepare it again") from None
    return _open(builder, given, command("prepare", "folder", "--from=PHOTOS"))


def prepare_command(name: str, directory: str) -> str:
    """Returns the line to paste that prepares a data set."""
    plain, _, variant = name.partition(":")[0].partition("/")
    side = variant.removeprefix(SHORT_SIDE)
    if plain in PUBLISHED and (not variant or side.isdecimal()):
        words = ["--from=DIR" if plain == "imagenet2012" else "--download"]
        words += [f"--short_side={side}"] if variant else []
        words += [f"--to={directory}"] if directory else []
        return command("prepare", plain, *words)
    build = f"pip install tensorflow, then tfds build {name} --file_format=array_record"
    return build + (f" --data_dir={directory}" if directory else "")


def _open(
    builder: Any, given: str, again: str
) -> tuple[tuple[str, ...], dict[str, RecordSource]]:
    """Opens every split of a builder; ``again`` is the command that prepares it."""
    import tensorflow_datasets as tfds

    if builder.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
        file_format = getattr(builder.info.file_format, "value", "no format")
        raise UsageError(
            f"{given}: prepared as {file_format}, which only"
            f" TensorFlow reads; prepare it again: {again}"
        )
    features = dict(builder.info.features.items())
    if not (
        isinstance(features.get("image"), tfds.features.Image)
        and isinstance(features.get("label"), tfds.features.ClassLabel)
    ):
        raise UsageError(
            f"{given}: has the features "
            f"{', '.join(sorted(features))}; an 'image' and a 'label' are needed"
        )
    class_names = tuple(features["label"].names)
    if builder.name == "imagenet2012":  # TFDS uses WordNet's numbers as names
        class_names = imagenet_class_names()
    decoders = {"image": tfds.decode.SkipDecoding()}
    checksum, labels = _read_facts(Path(builder.data_dir))
    sources = {}
    for split, info in builder.info.splits.items():
        if info.num_examples:
            known = labels.get(split, np.empty(0, np.int32))
            sources[split] = RecordSource(
                builder.as_data_source(split, decoders=decoders),
                np.arange(info.num_examples),
                len(class_names),
                f"{builder.info.full_name}/{split}",
                checksum,
                known if len(known) == info.num_examples else None,
            )
    return class_names, sources


def _read_facts(folder: Path) -> tuple[str, Mapping[str, np.ndarray]]:
    """Returns the checksum and the labels that prepare.py has written, if it did."""
    damage = OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile
    with contextlib.suppress(*damage):
        checksum = str(read_json(folder / PREPARED)["sha256"])
        with np.load(folder / LABELS, allow_pickle=False) as file:
            return checksum, {split: file[split] for split in file.files}
    return "", {}
