"""A file is written whole, or keeps its old content."""

import csv
import os

import pytest

from cnn_arch.errors import UsageError
from cnn_arch.files import (
    draft_of,
    make_folder,
    read_json,
    replacing,
    write_csv,
    write_text,
)


def test_a_write_that_fails_changes_nothing(tmp_path):
    path = tmp_path / "new" / "results.json"
    write_text(path, "one")
    with pytest.raises(RuntimeError), replacing(path) as draft:
        assert draft.suffix == path.suffix  # NumPy and matplotlib need it
        draft.write_text("half of tw")
        assert path.read_text() == "one"
        raise RuntimeError
    assert path.read_text() == "one"
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]


def test_the_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    path, synced = tmp_path / "config.json", set()
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor):
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def checked_replace(source, target):
        assert os.stat(source).st_ino in synced
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", checked_replace)
    write_text(path, "one")
    assert path.read_text() == "one"


def test_the_draft_of_a_killed_process_is_overwritten(tmp_path):
    path = tmp_path / "steps.csv"
    draft_of(path).write_text("half of a draft")
    write_csv(path, [("step", "loss"), (1, 0.1), (2, 'said "so"')])
    assert [file.name for file in tmp_path.iterdir()] == ["steps.csv"]
    assert path.read_text() == 'step,loss\n1,0.1\n2,"said ""so"""\n'


def test_a_name_that_is_not_utf8_is_escaped(tmp_path):
    write_text(tmp_path / "names.txt", b"caf\xe9".decode(errors="surrogateescape"))
    assert (tmp_path / "names.txt").read_text() == "caf\\udce9"


def test_a_table_keeps_the_line_breaks_of_its_fields(tmp_path):
    rows = [["name"], *([f"a{end}b"] for end in ("\n", "\r", "\r\n", "\x85"))]
    write_csv(tmp_path / "names.csv", rows)
    with (tmp_path / "names.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == rows


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": \xff}', "can't decode"),
        (b"", "Expecting value"),
    ],
)
def test_a_damaged_json_file_is_not_read(tmp_path, content, fault):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=fault):
        read_json(path)


def test_a_json_file_without_end_is_not_read(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("{}")
    assert read_json(path) == {}
    os.truncate(path, 2**40)  # takes no space
    with pytest.raises(ValueError, match="more than 64 MiB"):
        read_json(path)


def test_a_folder_cannot_replace_a_file(tmp_path):
    make_folder(tmp_path / "a" / "b", "--figures=b")
    (tmp_path / "c").touch()
    for folder in (tmp_path / "c", tmp_path / "c" / "d"):
        given = f"--figures={folder}"
        with pytest.raises(UsageError, match=f"^{given}: {tmp_path}/c is not a folder"):
            make_folder(folder, given)
