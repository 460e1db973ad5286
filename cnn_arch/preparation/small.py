"""MNIST and Fashion-MNIST from their idx files, CIFAR from its binary archives."""

import gzip
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.hashing import Hasher

from cnn_arch.data import bundled
from cnn_arch.errors import UsageError
from cnn_arch.preparation import published
from cnn_arch.preparation.plan import (
    Example,
    Part,
    Plan,
    check_counts,
    no_check,
    origin_of,
)
from cnn_arch.preparation.published import Published
from cnn_arch.screen import Screen

SIDE = 32  # of CIFAR's images, px
MAX_MEMBER_BYTES = 200 * 2**20  # the largest of CIFAR's archives has 154 MB
DAMAGE = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, OSError)

# The files in an archive, and what stands before the 3,072 bytes of an image there
# (www.cs.toronto.edu/~kriz/cifar.html, "Binary version").
CIFAR_LABELS = {
    "cifar10": {"label": "batches.meta.txt"},
    "cifar100": {
        "coarse_label": "coarse_label_names.txt",
        "label": "fine_label_names.txt",
    },
}
CIFAR_FILES = {
    "cifar10": {
        "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        "test": ("test_batch.bin",),
    },
    "cifar100": {"train": ("train.bin",), "test": ("test.bin",)},
}


def plan_mnist(name: str, source: Path, folder: Path, known: Published) -> Plan:
    """Reads the four idx files of MNIST or Fashion-MNIST, which may end in .gz.

    Raises:
      UsageError: a file is missing, damaged, or not the published one.
    """
    md5 = bundled.IDX_FILES[name].md5
    parts, lines, found = [], [], {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = (
            bundled.read_idx(source, f"{prefix}-{kind}-ubyte", md5, "--from")
            for kind in ("images-idx3", "labels-idx1")
        )
        examples = {"image": images[..., None], "label": labels}
        parts.append(_part(split, examples))
        lines.append((split, images.tobytes(), labels.tobytes()))
        check_counts(f"--from={source}", {split: len(labels)}, {split: len(images)})
        found[split] = len(images)
    check_counts(f"--from={source}", found, known.num_images)
    features = {
        "image": tfds.features.Image(shape=(*images.shape[1:], 1)),
        "label": tfds.features.ClassLabel(
            names=list(bundled.IDX_FILES[name].class_names)
        ),
    }
    return Plan(
        name,
        known.version,
        folder,
        features,
        known.num_images,
        parts,
        origin_of(lines),
        # MNIST's own checksums are of the unpacked files, which were just compared.
        check=no_check if md5 else partial(_check_idx, source, known),
    )


def _check_idx(source: Path, known: Published, screen: Screen) -> None:
    """Warns of a .gz file that was made anew: its content has other checks."""
    for file, md5 in known.md5.items():
        path = source / file
        if path.is_file() and not (source / path.stem).is_file():
            try:
                published.check(path, md5, Screen(quiet=True))
            except UsageError:
                screen.warn(f"{path}: was compressed anew; the published MD5 is {md5}")


def plan_cifar(name: str, source: Path, folder: Path, known: Published) -> Plan:
    """Reads the binary archive of CIFAR-10 or CIFAR-100.

    Raises:
      UsageError: the archive is missing, damaged, or not the published one.
    """
    (file,) = known.md5
    path = source / file if source.is_dir() else source
    if not path.is_file():
        raise UsageError(
            f"--from={source}: has no {file}; give its folder, or fetch it with "
            "--download (the Python version is a pickle, which can run code)"
        )
    published.check(path, known.md5[file], Screen(quiet=True))
    content = _read_archive(path)
    given = f"--from={path}"
    wanted = [*CIFAR_LABELS[name].values(), *sum(CIFAR_FILES[name].values(), ())]
    if missing := [each for each in wanted if each not in content]:
        raise UsageError(f"{given}: has no {missing[0]}; download it again")
    names = {
        label: content[text].decode().split()
        for label, text in CIFAR_LABELS[name].items()
    }
    parts = []
    for split, files in CIFAR_FILES[name].items():
        rows = _rows(given, [content[file] for file in files], len(names))
        check_counts(given, {split: len(rows)}, {split: known.num_images[split]})
        pixels = rows[:, len(names) :].reshape(-1, 3, SIDE, SIDE)
        examples: dict[str, Any] = {"image": pixels.transpose(0, 2, 3, 1)}
        examples |= {label: rows[:, place] for place, label in enumerate(names)}
        examples["id"] = [f"{split}_{number:05}" for number in range(len(rows))]
        _check_labels(given, examples, names)
        parts.append(_part(split, examples))
    features = {
        "id": tfds.features.Text(),
        "image": tfds.features.Image(shape=(SIDE, SIDE, 3)),
    } | {label: tfds.features.ClassLabel(names=each) for label, each in names.items()}
    return Plan(
        name,
        known.version,
        folder,
        features,
        known.num_images,
        parts,
        origin_of([known.md5[file]]),
    )


def _read_archive(path: Path) -> dict[str, bytes]:
    """Returns the content of the regular files in an archive, by their own names.

    Raises:
      UsageError: the archive is damaged, or a file in it is too large.
    """
    content = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                if not member.isreg():
                    continue
                if member.size > MAX_MEMBER_BYTES:
                    raise tarfile.ReadError(
                        f"{member.name!a} has {member.size:,} bytes"
                    )
                file = archive.extractfile(member)
                content[Path(member.name).name] = file.read() if file else b""
    except DAMAGE as error:
        raise UsageError(f"{path}: damaged ({error}); download it again") from None
    return content


def _rows(given: str, files: Sequence[bytes], num_labels: int) -> np.ndarray:
    """Returns a row of bytes for each image: labels, then red, green and blue."""
    size = num_labels + 3 * SIDE**2
    joined = b"".join(files)
    if any(len(file) % size for file in files):
        raise UsageError(
            f"{given}: a file in it is not of whole images ({size:,} bytes each); "
            "download it again"
        )
    return np.frombuffer(joined, np.uint8).reshape(-1, size)


def _check_labels(
    given: str, examples: Mapping[str, Any], names: Mapping[str, Sequence[str]]
) -> None:
    for label, of_label in names.items():
        highest = int(examples[label].max(initial=0))
        if highest >= len(of_label):
            raise UsageError(
                f"{given}: {label} {highest} is not in 0 to {len(of_label) - 1}; "
                "download it again"
            )


def _part(split: str, examples: Mapping[str, Any]) -> Part:
    images = examples["image"]
    return Part(split, images.nbytes, partial(_read, split, examples))


def _read(split: str, examples: Mapping[str, Any]) -> Iterator[Example]:
    """Yields the images as PNG files, in the order in which TFDS stores them.

    TFDS sorts by a hash of each image's number (tfds.core.shuffle).
    """
    order = sorted(range(len(examples["image"])), key=Hasher(split).hash_key)
    for place in order:
        example = {key: values[place] for key, values in examples.items()}
        image = np.ascontiguousarray(example["image"][..., ::-1])  # OpenCV has BGR
        yield example | {"image": cv2.imencode(".png", image)[1].tobytes()}
