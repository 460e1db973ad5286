"""A TensorFlow Datasets (TFDS) data set as array_record, read without TensorFlow."""

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnn_arch.data.decoding import UnreadableImageError
from cnn_arch.errors import RunError, UsageError


@dataclasses.dataclass(frozen=True)
class RecordSource:
    """Encoded images and labels, read one record at a time."""

    records: Sequence[dict]  # {"image": bytes, "label": int, ...}
    indices: np.ndarray  # int64 [N], places in `records`
    num_classes: int
    split_name: str  # "cifar10/3.0.2/train"

    def __len__(self) -> int:
        """Counts the images."""
        return len(self.indices)

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """Reads every record once and returns the labels, int32 [N]."""
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
        """Returns name, version and places, to fingerprint the images."""
        return self.split_name.encode() + self.indices.tobytes()


def imagenet_class_names() -> tuple[str, ...]:
    """Returns the names of ImageNet's 1,000 classes, in the order of their labels."""
    from tensorflow_datasets.datasets.siscore.labels import IMAGENET_LABELS_LIST

    return tuple(name.split(",")[0] for name in IMAGENET_LABELS_LIST)


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
    command = f"tfds build {name} --file_format=array_record" + (
        f" --data_dir={directory}" if directory else ""
    )
    try:
        builder: Any = read_only_builder.builder_from_files(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        raise UsageError(
            f"--config.data.name={name}: not prepared in"
            f" {directory or '~/tensorflow_datasets'}; prepare it once:"
            f" pip install tensorflow, then {command}"
        ) from None
    if builder.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
        file_format = getattr(builder.info.file_format, "value", "no format")
        raise UsageError(
            f"--config.data.name={name}: prepared as {file_format}, which only"
            f" TensorFlow reads; prepare it again: {command}"
        )
    features = dict(builder.info.features.items())
    if not (
        isinstance(features.get("image"), tfds.features.Image)
        and isinstance(features.get("label"), tfds.features.ClassLabel)
    ):
        raise UsageError(
            f"--config.data.name={name}: has the features "
            f"{', '.join(sorted(features))}; an 'image' and a 'label' are needed"
        )
    class_names = tuple(features["label"].names)
    if builder.name == "imagenet2012":  # TFDS uses WordNet's numbers as names
        class_names = imagenet_class_names()
    decoders = {"image": tfds.decode.SkipDecoding()}
    sources = {}
    for split, info in builder.info.splits.items():
        if info.num_examples:
            sources[split] = RecordSource(
                builder.as_data_source(split, decoders=decoders),
                np.arange(info.num_examples),
                len(class_names),
                f"{builder.info.full_name}/{split}",
            )
    return class_names, sources
