"""A user's folder as records: the same images and splits as the folder itself."""

import numpy as np
import pytest

from cnn_arch.data import decoding
from cnn_arch.data.folder import read_image_file
from cnn_arch.errors import UsageError
from cnn_arch.preparation import pictures, records
from cnn_arch.screen import Screen
from tests.data.conftest import load, sizes
from tests.preparation.conftest import jpeg, write


def images_of(dataset, data):
    """Returns the encoded images and the classes of each split."""
    return {
        split: sorted(
            (source.example(i)[0], dataset.class_names[source.example(i)[1]])
            for i in range(len(source))
        )
        for split, source in dataset.splits.items()
    }


@pytest.mark.parametrize(
    "counts",
    [
        {"a": 20, "b": 12},
        {"train/a": 18, "train/b": 12, "test/a": 3, "test/b": 4},
        {"train/a": 8, "train/b": 7, "val/a": 3, "val/b": 4, "test/b": 2},
    ],
)
def test_records_have_the_splits_of_the_folder(
    counts, make_folder, data_config, tmp_path
):
    folder = make_folder(counts)
    write(pictures.plan_folder(folder, tmp_path / "records", 0))
    data, packed = data_config(dir=folder), data_config(dir=tmp_path / "records")
    before, after = load(data), load(packed)
    assert after.class_names == before.class_names
    assert sizes(after.splits) == sizes(before.splits)
    assert images_of(after, packed) == images_of(before, data)
    labels = after.splits["train"].labels
    assert (
        np.bincount(labels).tolist()
        == np.bincount(before.splits["train"].labels).tolist()
    )


def test_large_pictures_become_smaller_and_upright(make_folder, tmp_path, data_config):
    folder = make_folder({"a": 3, "b": 3}, size=(60, 90))
    write(pictures.plan_folder(folder, tmp_path / "records", 32))
    source = load(data_config(dir=tmp_path / "records")).splits["train"]
    image = decoding.decode(source.example(0)[0], 3, shown=True)
    assert image.shape == (32, 48, 3)


def test_all_broken_pictures_are_named(make_folder, tmp_path, capsys):
    folder = make_folder({"a": 5, "b": 5})
    path = folder / "a" / "003.jpg"
    path.write_bytes(read_image_file(str(path))[:-30])
    (folder / "b" / "001.jpg").write_bytes(b"")
    message = r"a/003.jpg: not a readable image \(.*\); delete it, .* \(2 of 10 files\)"
    plan = pictures.plan_folder(folder, tmp_path / "records", 0)
    with pytest.raises(UsageError, match=message):
        records.write(plan, "--to=x", Screen())
    shown = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0][-9:] for line in shown] == [
        "a/003.jpg",
        "b/001.jpg",
    ]
    assert not (tmp_path / "records").exists()


def test_what_is_not_used_is_said(make_folder, tmp_path):
    folder = make_folder({"train/a": 9, "train/b": 9, "val/b": 1, "test/a": 1})
    (folder / "train" / "stray.jpg").write_bytes(jpeg())
    plan = pictures.plan_folder(folder, tmp_path / "records", 0)
    (note,) = plan.notes
    assert note.startswith("1 image in ") and note.endswith("class folder, not used")


def test_a_folder_without_classes_is_explained(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg())
    with pytest.raises(UsageError, match=r"^--from=.*: 1 image but no class folders"):
        pictures.plan_folder(tmp_path / "photos", tmp_path / "records", 0)


def test_a_class_name_of_two_lines_is_refused(make_folder, tmp_path):
    folder = make_folder({"a": 5, "b\nc": 5})
    with pytest.raises(UsageError, match=r"the class 'b\\nc' cannot be stored"):
        pictures.plan_folder(folder, tmp_path / "records", 0)


def test_a_large_folder_becomes_few_files(make_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MIN_IMAGES_A_FILE", 4)
    folder = make_folder({"train/a": 9, "train/b": 9, "val/b": 1, "test/a": 1})
    plan = pictures.plan_folder(folder, tmp_path / "records", 0)
    assert [part.split for part in plan.parts].count("train") == 5
    write(plan)
    assert len(list((tmp_path / "records").glob("folder-train.array_record*"))) == 5
