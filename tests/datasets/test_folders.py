import numpy as np
import pytest

from tests.data.conftest import SPLITS, load, sizes, usage_error


def test_folder_with_splits(make_folder, data_config):
    root = make_folder(SPLITS)
    (root / "README.md").write_text("no image")
    (root / "train/rose/list.txt").write_text("no image")
    (root / ".git").mkdir()
    dataset = load(data_config(dir=root))
    assert dataset.name == "photos"
    assert dataset.class_names == ("rose", "tulip")
    splits = dataset.splits
    assert sizes(splits) == {"train": 27, "validation": 3, "test": 5}
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
    assert rows[splits["validation"].name(0)] == ("validation", "tulip")


CLASS_FOLDERS = "images but no class folders; put them as"
RENAME = "rename or delete it"


@pytest.mark.parametrize(
    ("counts", "rule"),
    [
        (
            {"": 12},
            f"12 {CLASS_FOLDERS} ROOT/CLASS/*.jpg or ROOT/train/CLASS/*.jpg",
        ),
        ({"train": 7}, f"7 {CLASS_FOLDERS} ROOT/train/CLASS/*.jpg"),
        (
            {"train": 7, "test/rose": 2},
            "no class in ROOT/train; two or more are needed",
        ),
        (
            {"train/rose": 7},
            "only the class 'rose' in ROOT/train; two or more are needed",
        ),
        (
            {"test/a": 1, "test/b": 1},
            "has test/ but no train/; put training images as ROOT/train/CLASS/*.jpg",
        ),
        (
            SPLITS | {"val/rose": 1, "valid/rose": 1},
            "both val/ and valid/ are validation splits; keep one",
        ),
        (
            SPLITS | {"val/Rose": 1},
            f"class 'Rose' of val/ is not in train/ (train/ has 'rose'); {RENAME}",
        ),
        (
            SPLITS | {"val/zebra": 1},
            "class 'zebra' of val/ is not in train/ (train/ has 'rose', 'tulip');"
            f" {RENAME}",
        ),
        (
            SPLITS | {"val": 3},
            "ROOT/val/ has 3 images, but none in a class folder; put them as"
            " ROOT/val/CLASS/*.jpg, or rename the folder",
        ),
        (
            SPLITS | {"val/rose": 0},
            "ROOT/val/ has no images; put them as"
            " ROOT/val/CLASS/*.jpg, or rename the folder",
        ),
        (
            SPLITS | {"train/lily": 0},
            "no images in ROOT/train/lily/; put images directly in it, or delete it",
        ),
    ],
)
def test_folder_that_cannot_be_used(make_folder, data_config, counts, rule):
    root = str(make_folder(counts))
    text = usage_error(data_config(dir=root))
    assert text == f"--config.data.dir={root}: {rule.replace('ROOT', root)}"


def test_names_that_are_not_utf8(make_folder, data_config):
    names = "ros\udce9", "tul\nip"
    root = make_folder({f"train/{name}": 15 for name in names})
    dataset = load(data_config(dir=root))
    assert dataset.class_names == names
    assert dataset.splits["train"].example(0)[0]


@pytest.mark.parametrize("path", ["", "/none"])
def test_no_folder(data_config, path):
    text = usage_error(data_config(dir=path))
    assert text.startswith(f"--config.data.dir={path}: no such folder; ")


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
