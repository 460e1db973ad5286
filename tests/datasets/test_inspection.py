"""Images are inspected once; missing, changed and broken ones are found."""

import os
import shutil

import numpy as np
import pytest

from cnn_arch.datasets import inspection
from cnn_arch.errors import RunError, UsageError
from cnn_arch.screen import Screen
from tests.data.conftest import SPLITS, load, sizes

TABLE = inspection.FILE
SKIP = "--config.data.skip_broken=true"


@pytest.fixture
def root(make_folder):
    return make_folder({"a": 30, "b": 30})


@pytest.fixture
def inspected(monkeypatch):
    """Returns the list of the files that were read from now on."""
    paths = []
    inspect = inspection.inspect

    def spy(path, *rest):
        paths.append(path)
        return inspect(path, *rest)

    monkeypatch.setattr(inspection, "inspect", spy)
    return paths


def flip_bit(path):
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)


def first_of(dataset, split, root):
    return next(root / file for kept, _, file in dataset.split_rows if kept == split)


def test_a_second_start_reads_no_file(begin, open_run, root, data_config, inspected):
    data = data_config(dir=root)
    first = begin(data)
    assert len(inspected) == 60
    second = open_run(data)
    assert len(inspected) == 60
    assert second.split_rows == first.split_rows
    assert second.fingerprint == first.fingerprint


def test_moved_images_are_compared_by_their_bytes(
    begin, open_run, root, data_config, inspected, tmp_path
):
    begin(data_config(dir=root))
    copy = shutil.copytree(root, tmp_path / "copy")
    dataset = open_run(data_config(dir=f"{copy}/"))
    assert len(inspected) == 120
    assert not dataset.skipped


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_changed_image_of_the_same_size_is_refused(
    begin, open_run, root, data_config, split
):
    data = data_config(dir=root)
    path = first_of(begin(data), split, root)
    times, content = os.stat(path), path.read_bytes()
    flip_bit(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    text = f"{path}: has changed since the run began; put it back, or add {SKIP}"
    with pytest.raises(UsageError, match=text):
        open_run(data)
    # Both fixes work.
    skipping = open_run(data_config(dir=root, skip_broken=True))
    assert skipping.skipped == {str(path)}
    path.write_bytes(content)
    assert not open_run(data).skipped


def test_an_evaluation_leaves_a_changed_image_out(begin, open_run, root, data_config):
    data = data_config(dir=root)
    path = first_of(begin(data), "test", root)
    flip_bit(path)
    dataset = open_run(data, "test")
    source = dataset.splits["test"]
    assert str(path) not in [source.name(i) for i in range(len(source))]
    assert any(str(path) in note for note in dataset.pictures.notes)
    assert not open_run(data, "validation").skipped


def test_a_training_image_that_is_gone_leaves_the_order_of_the_others(
    begin, open_run, root, data_config
):
    data = data_config(dir=root)
    before = begin(data)
    path = first_of(before, "train", root)
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(UsageError, match=f"{path}: is missing; put it back, or add"):
        open_run(data)
    dataset = open_run(data_config(dir=root, skip_broken=True))
    assert sizes(dataset.splits) == sizes(before.splits)
    old, new = before.splits["train"], dataset.splits["train"]
    names = [old.name(i) for i in range(len(old))]
    names[0] = names[1]  # the next one is in its place
    assert [new.name(i) for i in range(len(new))] == names
    file = str(path.relative_to(root))
    assert ("train skipped", path.parent.name, file) in dataset.split_rows
    path.write_bytes(content)
    assert not open_run(data).skipped


def test_a_start_without_some_images_does_not_forget_them(
    begin, open_run, root, data_config
):
    data = data_config(dir=root)
    before = begin(data)
    files = [file for split, _, file in before.split_rows if split == "train"]
    gone, changed = root / files[0], root / files[1]
    size = gone.stat().st_size
    gone.unlink()
    flip_bit(changed)
    begin(data_config(dir=root, skip_broken=True))
    gone.write_bytes(bytes(size))
    changed.write_bytes((root / files[2]).read_bytes())
    with pytest.raises(UsageError, match=r"has changed since .* \(2 of 60 files\)"):
        open_run(data)


def test_skipped_images_are_in_no_split(begin, open_run, root, data_config):
    (root / "a" / "000.jpg").write_bytes(b"")
    (root / "b" / "000.jpg").unlink()
    (root / "b" / "000.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(root / "b" / "pipe.jpg")
    with pytest.raises(UsageError, match=r"a/000.jpg: .* delete it, or .* \(3 of 61"):
        load(data_config(dir=root))
    data = data_config(dir=root, skip_broken=True)
    dataset = begin(data)
    faults = {name: fault for name, fault in dataset.pictures.skipped().items()}
    assert faults == {
        f"{root}/a/000.jpg": "not a readable image (0 bytes)",
        f"{root}/b/000.jpg": "not a readable image (No such file or directory)",
        f"{root}/b/pipe.jpg": "not a readable image (not a file)",
    }
    assert sum(sizes(dataset.splits).values()) == 58
    splits = [split for split, _, _ in dataset.split_rows]
    assert splits.count("skipped") == 3
    # They stay out when they are mended, and need not be there.
    (root / "b" / "pipe.jpg").unlink()
    picture = (root / "a" / "001.jpg").read_bytes()
    (root / "a" / "000.jpg").write_bytes(picture)
    assert open_run(data_config(dir=root)).split_rows == dataset.split_rows


def test_every_broken_image_is_named(root, data_config, open_run, capsys):
    for name in ("a/003.jpg", "b/004.jpg"):
        path = root / name
        path.write_bytes(path.read_bytes()[:200])
    inspected = load(data_config(dir=root, skip_broken=True)).pictures
    inspected.use.screen.is_quiet = False
    with pytest.raises(UsageError, match=r"\(2 of 60 files\)"):
        inspected.refuse_skipped()
    shown = capsys.readouterr().out
    assert f"{root}/a/003.jpg: not a readable" in shown
    assert f"{root}/b/004.jpg: not a readable" in shown
    inspected.use.screen.is_quiet = True


def test_large_folders_are_inspected_beside_the_training(
    begin, open_run, root, data_config, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(inspection, "MAX_SECONDS", -1)
    data = data_config(dir=root, num_threads=1)
    dataset = open_run(data)
    left = len(dataset.pictures.inspection._left())
    assert 0 < left == len(dataset.splits["train"]) - 8
    path = first_of(dataset, "train", root).with_name("029.jpg")
    path.write_bytes(path.read_bytes()[:-100])
    begin(data)
    table = (tmp_path / "run" / TABLE).read_text().splitlines()
    start = f"{path.parent.name}/029.jpg,{path.stat().st_size},"
    assert any(line.startswith(start) for line in table[-left:])
    assert f"warning: {path}: not a readable image" in capsys.readouterr().err


def test_a_change_that_is_found_late_stops_the_training(
    begin, open_run, root, data_config, monkeypatch
):
    data = data_config(dir=root, num_threads=1)
    before = begin(data)
    path = sorted(root.glob("b/*"))[-1]
    assert ("train", "b", str(path.relative_to(root))) in before.split_rows
    flip_bit(path)
    monkeypatch.setattr(inspection, "MAX_SECONDS", -1)
    for other in root.glob("*/*"):
        os.utime(other)
    dataset = begin(data)
    with pytest.raises(RunError, match=f"{path}: has changed since the run began"):
        dataset.check()


def test_a_table_that_a_kill_has_cut(begin, open_run, root, data_config, tmp_path):
    data = data_config(dir=root)
    begin(data)
    path = tmp_path / "run" / TABLE
    path.write_text(path.read_text()[:-40])
    assert not open_run(data).skipped


def test_names_of_any_bytes(begin, open_run, root, data_config):
    names = b"line\nbreak.jpg", b"return\rs.jpg", b"\xff.jpg", b'com"ma,.jpg'
    for name in names:
        place = os.fsencode(root / "a") + b"/" + name
        shutil.copy(os.fsencode(root / "a" / "001.jpg"), place)
    data = data_config(dir=root)
    before = begin(data)
    after = open_run(data)
    assert len(after.split_rows) == 64
    assert not after.pictures.division.unknown and not after.skipped
    for split, source in before.splits.items():
        assert after.splits[split].files == source.files


def test_in_memory_and_resumed_with_a_broken_image(begin, open_run, root, data_config):
    data = data_config(dir=root, in_memory=True, skip_broken=True)
    before = begin(data)
    path = first_of(before, "train", root)
    path.write_bytes(b"")
    after = open_run(data)
    old, new = before.splits["train"], after.splits["train"]
    np.testing.assert_array_equal(new.images[1:], old.images[1:])
    np.testing.assert_array_equal(new.images[0], old.images[1])


def test_images_that_are_not_in_a_class_folder_are_counted(make_folder, data_config):
    root = make_folder(SPLITS | {"": 2, "train/rose/more": 3, "test": 4, "raw": 1})
    notes = load(data_config(dir=root)).pictures.notes
    text = "images in {} not directly in a class folder, not used"
    assert f"3 {text.format(root / 'train')}" in notes
    assert f"4 {text.format(root / 'test')}" in notes
    assert f"{root}/raw is not used: the splits are in other folders" in notes


def test_a_split_without_a_class_is_noted(make_folder, data_config):
    root = make_folder(SPLITS | {"val/rose": 3})
    notes = load(data_config(dir=root)).pictures.notes
    assert notes == ["no validation images of 1 of the 2 classes, tulip the first"]


def test_a_folder_named_like_a_split_among_classes(make_folder, data_config):
    root = make_folder({"rose": 20, "tulip": 20, "test": 5})
    dataset = load(data_config(dir=root))
    assert dataset.class_names == ("rose", "test", "tulip")
    assert (
        f"test/ in {root} is a class: it has no sub-folders" in dataset.pictures.notes
    )


def test_the_screen_is_quiet_without_news(begin, open_run, root, data_config, capsys):
    begin(data_config(dir=root))
    open_run(data_config(dir=root))
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""
    assert Screen(quiet=True).is_quiet
