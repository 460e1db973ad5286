from pathlib import Path

import numpy as np
import pytest

from cnn_arch.data import sources
from cnn_arch.data.views import evaluation_view
from cnn_arch.datasets import dataset as datasets
from tests.data.conftest import SPLITS, load, sizes, usage_error


def files(source):
    return {source.name(i) for i in range(len(source))}


# Splits.


def test_validation_is_carved_out_of_train_and_nothing_twice(make_folder, data_config):
    root = make_folder(SPLITS)
    splits = load(data_config(dir=root)).splits
    assert 1 <= len(splits["validation"]) <= 8
    train, validation = files(splits["train"]), files(splits["validation"])
    assert train | validation == {str(p) for p in root.glob("train/*/*.jpg")}
    assert not train & validation


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_folder_with_its_own_validation(make_folder, data_config, name):
    root = make_folder(SPLITS | {f"{name}/rose": 4})
    splits = load(data_config(dir=root)).splits
    assert len(splits["train"]) == 30
    assert files(splits["validation"]) == {str(p) for p in root.glob(f"{name}/*/*")}


def test_validation_folder_as_test_split(make_folder, data_config):
    root = make_folder({"train/a": 20, "train/b": 20, "val/a": 4, "val/b": 4})
    splits = load(data_config(dir=root, test_split="validation")).splits
    assert sizes(splits) == {"train": 37, "validation": 3, "test": 8}
    assert files(splits["test"]) == {str(p) for p in root.glob("val/*/*")}


def test_folder_without_test(make_folder, data_config):
    data = data_config(dir=make_folder({"train/a": 10, "train/b": 10}))
    assert sizes(load(data).splits) == {"train": 18, "validation": 2}


def test_folder_without_splits(make_folder, data_config):
    root = make_folder({"a": 20, "b": 10, "c": 2})
    splits = load(data_config(dir=root)).splits
    assert set(splits["train"].labels) == {0, 1, 2}
    assert sizes(splits) == {"train": 23, "validation": 7, "test": 2}
    names = [files(source) for source in splits.values()]
    assert len(set.union(*names)) == 32


def test_the_carved_split_is_the_same_wherever_the_folder_is(make_folder, data_config):
    root = make_folder({"a": 20, "b": 10})
    first = load(data_config(dir=root))
    moved = root.rename(root.parent / "moved")
    again = load(data_config(dir=moved))
    assert again.split_rows == first.split_rows
    assert again.fingerprint == first.fingerprint


def test_fingerprint_differs_for_a_changed_size_and_a_missing_file(
    make_folder, data_config
):
    data = data_config(dir=make_folder({"a": 20, "b": 10}))
    fingerprints = [load(data).fingerprint]
    path = Path(data.dir, "a/000.jpg")
    path.write_bytes(path.read_bytes() + b"\0")
    fingerprints.append(load(data).fingerprint)
    path.unlink()
    fingerprints.append(load(data).fingerprint)
    assert len(set(fingerprints)) == 3


def test_too_few_images(make_folder, data_config):
    root = make_folder({"a": 1, "b": 1})
    assert "2 images, too few" in usage_error(data_config(dir=root))


def test_settings_that_do_not_match_the_data(make_folder, data_config):
    root = make_folder(SPLITS)
    load(data_config(dir=root, num_classes=2))
    text = usage_error(data_config(dir=root, num_classes=3))
    assert text.startswith("--config.data.num_classes=3: photos has 2 classes; ")
    text = usage_error(data_config(dir=root, test_split="tset"))
    assert "photos: has no split 'tset' (it has train, test)" in text


# In memory.


def test_fingerprint_in_memory_differs_for_a_changed_pixel(make_folder, data_config):
    root = make_folder(SPLITS, size=(4, 4), suffix=".bmp")
    data = data_config(dir=root, in_memory=True)
    first = load(data).fingerprint
    path = root / "train/rose/000.bmp"
    encoded = bytearray(path.read_bytes())
    encoded[-1] ^= 1
    path.write_bytes(encoded)
    assert load(data).fingerprint != first


def test_in_memory_at_own_size(make_folder, data_config):
    root = make_folder(SPLITS, size=(20, 30), suffix=".png")
    encoded = load(data_config(dir=root))
    data = data_config(dir=root, in_memory=True)
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
    data = data_config(dir=make_folder(SPLITS), in_memory=True, channels=1)
    assert load(data).splits["train"].images.shape == (27, 16, 16, 1)


@pytest.mark.parametrize("size", [None, (30, 40)])  # various sizes, or one
def test_in_memory_large_images_are_resized_at_once(
    make_folder, data_config, monkeypatch, size
):
    root = make_folder(SPLITS, size=size)
    data = data_config(dir=root, in_memory=True, train_crop="pad_crop")
    kept = load(data).splits["train"]
    monkeypatch.setattr(datasets, "LARGE", 0)  # all are photographs
    resized = load(data).splits["train"]
    assert resized.images.shape[1:3] == (data.image_size, data.image_size)
    for before, after in zip(kept.images, resized.images, strict=True):
        np.testing.assert_array_equal(
            evaluation_view(before, data), evaluation_view(after, data)
        )


def test_in_memory_broken(make_folder, data_config):
    root = make_folder(SPLITS, size=(4, 4))
    path = root / "train/rose/004.jpg"
    path.write_bytes(b"")
    expected = f"{path}: not a readable image (0 bytes); delete it, or add"
    for in_memory in (False, True):
        text = usage_error(data_config(dir=root, in_memory=in_memory))
        assert text.startswith(expected)
    dataset = load(data_config(dir=root, in_memory=True, skip_broken=True))
    assert dataset.skipped == {str(path)}
    assert sum(sizes(dataset.splits).values()) == 34
    assert ("skipped", "rose", "train/rose/004.jpg") in dataset.split_rows
