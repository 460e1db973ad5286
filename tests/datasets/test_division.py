"""The division of a folder depends on each image's name, and a run keeps its own."""

import csv
import hashlib

import numpy as np
import pytest

from cnn_arch.datasets import division
from cnn_arch.errors import UsageError
from tests.data.conftest import load


def by_file(dataset):
    return {file: split for split, _, file in dataset.split_rows}


def test_the_number_of_an_image_is_a_hash_of_its_name():
    digest = hashlib.blake2b("rose/ä.jpg".encode(), digest_size=8).hexdigest()
    assert division.number("rose/ä.jpg") == int(digest, 16) / 2**64
    assert division.number("rose/a\u0308.jpg") == division.number("rose/\xe4.jpg")
    assert division.number("rose/\udcff.jpg") != division.number("rose/\udcfe.jpg")


def test_shares_are_about_a_tenth_of_many_images():
    numbers = np.array([division.number(f"a/{i}.jpg") for i in range(10_000)])
    chosen = division.hold_out(numbers, np.zeros(10_000, int), division.HELD_OUT, "")
    for split in ("validation", "test"):  # three standard deviations of 1,000
        assert abs((chosen == split).sum() - 1000) < 3 * 30


@pytest.mark.parametrize("place", ["{}", "train/{}"])
def test_no_image_changes_its_split_when_others_come_or_go(
    make_folder, data_config, place
):
    root = make_folder({place.format(name): 40 for name in "ab"})
    data = data_config(dir=root)
    before = by_file(load(data))
    for i in (0, 7, 21):
        (root / place.format("a") / f"{i:03}.jpg").unlink()
    picture = (root / place.format("a") / "001.jpg").read_bytes()
    for i in range(50):
        (root / place.format("b") / f"new{i}.jpg").write_bytes(picture)
    after = by_file(load(data))
    common = before.keys() & after.keys()
    assert len(common) == 77
    assert {name: before[name] for name in common} == {
        name: after[name] for name in common
    }
    assert {"train", "validation"} <= set(after.values())


def test_a_small_folder_has_every_split_and_trains_on_every_class():
    generator = np.random.default_rng(0)
    for _ in range(200):
        numbers, labels = generator.random(9), np.repeat([0, 1, 2], 3)
        chosen = division.hold_out(numbers, labels, division.HELD_OUT, "photos")
        assert {"train", "validation", "test"} == set(chosen)
        assert set(labels[chosen == "train"]) == {0, 1, 2}


def test_the_test_images_cannot_be_those_of_the_training(make_folder, data_config):
    root = make_folder({"train/a": 5, "train/b": 5})
    with pytest.raises(UsageError, match="test_split=train: must not be the images"):
        load(data_config(dir=root, test_split="train"))


# The division of a run.


def test_a_run_keeps_its_division_whatever_it_is(
    begin, open_run, make_folder, data_config, tmp_path
):
    root = make_folder({"a": 30, "b": 30})
    data = data_config(dir=root)
    begin(data)
    path = tmp_path / "run" / "split.csv"
    with path.open() as file:
        header, *rows = csv.reader(file)
    # As an older version divided it: neither by names nor in their order.
    rows = [[rows[i][0], *rows[-1 - i][1:]] for i in range(60)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    for dataset in (open_run(data), open_run(data, "test")):
        for split, source in dataset.splits.items():
            files = [f"{root}/{file}" for kept, _, file in rows if kept == split]
            assert [source.name(i) for i in range(len(source))] == files
            assert [dataset.class_names[label] for label in source.labels] == [
                name for kept, name, _ in rows if kept == split
            ]


@pytest.mark.parametrize("split", ["", "test"])
def test_images_that_a_run_does_not_know_are_named_and_not_used(
    begin, open_run, make_folder, data_config, split
):
    root = make_folder({"a": 30, "b": 30})
    data = data_config(dir=root)
    before = by_file(begin(data))
    picture = (root / "a" / "001.jpg").read_bytes()
    for i in range(40):
        (root / "a" / f"new{i:02}.jpg").write_bytes(picture)
    (root / "0").mkdir()  # a class that would change the numbers of the others
    (root / "0" / "0.jpg").write_bytes(picture)
    dataset = open_run(data, split)
    assert by_file(dataset) == before
    assert dataset.class_names == ("a", "b")
    assert any(
        note.startswith("41 images not in the split.csv of the run")
        and note.endswith(f"{root}/0/0.jpg is the first")
        for note in dataset.pictures.notes
    )


def test_the_data_of_another_run_is_refused_or_divided_anew(
    begin, open_run, make_folder, data_config, tmp_path
):
    root = make_folder({"a": 30, "b": 30})
    begin(data_config(dir=root))
    other = tmp_path / "other"
    for name in "cd":
        (other / name).mkdir(parents=True)
        for i in range(20):
            picture = (root / "a" / f"{i:03}.jpg").read_bytes()
            (other / name / f"{i}.jpg").write_bytes(picture)
    data = data_config(dir=other)
    with pytest.raises(UsageError, match=rf"none of its 40 .* --images={other}/c"):
        open_run(data, "test")
    with pytest.raises(UsageError, match=r"none of its 40 .* choose another --workdir"):
        open_run(data)
    dataset = open_run(data, "test", accepts_others=True)
    assert dataset.class_names == ("c", "d")
    assert "none of the 40 images is of the run's data" in dataset.pictures.notes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "split,class,file\ntrain,a",
        "split\ntrain\n",
        "split,class,file\nTrain,a,a/001.jpg\n",
        "split,class,file\ntrain,A,a/001.jpg\n",
    ],
)
def test_a_damaged_division_of_a_run(
    begin, open_run, make_folder, data_config, tmp_path, text
):
    data = data_config(dir=make_folder({"a": 10, "b": 10}))
    begin(data)
    path = tmp_path / "run" / "split.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"{path}: the run's division .* put the file"):
        open_run(data, "test")
    path.unlink()
    with pytest.raises(UsageError, match=f"{path}: .* is missing; put the file back"):
        open_run(data)


def test_a_run_without_a_checkpoint_is_divided_anew(
    begin, open_run, make_folder, data_config, tmp_path
):
    root = make_folder({"a": 10, "b": 10})
    data = data_config(dir=root)
    begin(data)
    (tmp_path / "run" / "checkpoints" / "7").rmdir()
    (root / "a" / "new.jpg").write_bytes((root / "a" / "001.jpg").read_bytes())
    assert len(open_run(data).split_rows) == 21
