"""Small archives in the layouts of the published ones, and how they are prepared."""

import dataclasses
import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from cnn_arch.preparation import records
from cnn_arch.preparation.published import PUBLISHED
from cnn_arch.screen import Screen
from tests.data.conftest import data_config, make_folder  # noqa: F401 - fixtures

GENERATOR = np.random.default_rng(0)
FINE = [f"fine{number}" for number in range(100)]
COARSE = [f"coarse{number}" for number in range(20)]


def tar(path: Path, files: dict[str, bytes]) -> bytes:
    """Writes an archive, compressed if its name ends in .gz; returns its bytes."""
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path.read_bytes()


def known(name: str, folder: Path, **num_images: int):
    """Returns what would be published if the files in a folder were official."""
    md5 = {
        file: hashlib.md5(Path(folder, file).read_bytes()).hexdigest()
        for file in PUBLISHED[name].md5
        if Path(folder, file).is_file()
    }
    md5 = md5 or PUBLISHED[name].md5
    return dataclasses.replace(PUBLISHED[name], md5=md5, num_images=num_images)


def write(plan) -> Path:
    """Writes a data set; returns its folder."""
    records.write(plan, "--to=x", Screen(quiet=True))
    return plan.folder


def cifar(folder: Path, name: str, num_train: int = 20, num_test: int = 6):
    """Writes a binary archive; returns its rows of bytes, by split."""
    num_labels = 1 if name == "cifar10" else 2
    limits = [5] if num_labels == 1 else [3, 5]  # classes that are there
    rows = {}
    for split, count in (("train", num_train), ("test", num_test)):
        pixels = GENERATOR.integers(0, 256, (count, 3072), np.uint8)
        labels = [np.arange(count, dtype=np.uint8)[:, None] % limit for limit in limits]
        rows[split] = np.concatenate([*labels, pixels], axis=1)
    if name == "cifar10":
        files = {
            f"cifar-10-batches-bin/data_batch_{number + 1}.bin": each.tobytes()
            for number, each in enumerate(np.split(rows["train"], 5))
        }
        files["cifar-10-batches-bin/test_batch.bin"] = rows["test"].tobytes()
        names = "\n".join(f"class{number}" for number in range(10)) + "\n\n"
        files["cifar-10-batches-bin/batches.meta.txt"] = names.encode()
    else:
        files = {
            "cifar-100-binary/train.bin": rows["train"].tobytes(),
            "cifar-100-binary/test.bin": rows["test"].tobytes(),
            "cifar-100-binary/fine_label_names.txt": "\n".join(FINE).encode(),
            "cifar-100-binary/coarse_label_names.txt": "\n".join(COARSE).encode(),
        }
    (file,) = PUBLISHED[name].md5
    folder.mkdir(exist_ok=True)
    tar(folder / file, files)
    return rows


def idx(folder: Path, num_train: int = 30, num_test: int = 10, suffix: str = ".gz"):
    """Writes four idx files; returns images and labels, by split."""
    folder.mkdir(exist_ok=True)
    arrays = {}
    for split, prefix, count in (
        ("train", "train", num_train),
        ("test", "t10k", num_test),
    ):
        images = GENERATOR.integers(0, 256, (count, 28, 28), np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        arrays[split] = images, labels
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, values.ndim])
            shape = np.array(values.shape, ">u4").tobytes()
            content = header + shape + values.tobytes()
            path = folder / f"{prefix}-{kind}-ubyte{suffix}"
            path.write_bytes(gzip.compress(content) if suffix else content)
    return arrays


def jpeg(width: int = 40, height: int = 30, generator=GENERATOR) -> bytes:
    """Returns a JPEG file of smooth random colours."""
    small = generator.integers(0, 256, (5, 5, 3), np.uint8)
    image = cv2.resize(small, (width, height))
    return cv2.imencode(".jpg", image)[1].tobytes()


@pytest.fixture
def no_md5(monkeypatch):
    """Lets small idx files pass for MNIST's."""
    from cnn_arch.data import bundled

    files = dataclasses.replace(bundled.IDX_FILES["mnist"], md5={})
    monkeypatch.setitem(bundled.IDX_FILES, "mnist", files)
