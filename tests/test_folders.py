"""The paths of runs: which work, which are free, and what may be there."""

import multiprocessing
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from cnn_arch import folders
from cnn_arch.errors import UsageError


@pytest.mark.parametrize(
    "name",
    ["a[b]", "st*r", "wh?t", "100%", "a b", "ünï 😀", "'\"$HOME", "{1,2}", "-x", "~"],
)
def test_paths_that_work(tmp_path, name):
    assert folders.check_path(tmp_path / name / "run") == tmp_path / name / "run"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\\b", r"'\\\\'"),
        ("a\nb", r"'\\n'"),
        ("\x1b[31m", r"'\\x1b'"),
        ("a\udcff", r"'\\udcff'"),
        ("logs:", "'gs:/'"),
        ("x" * 100 + "/" + "/".join(["y" * 100] * 35), "at most 3,500 bytes"),
    ],
)
def test_paths_that_are_refused_at_once(tmp_path, name, shown):
    with pytest.raises(UsageError, match=f"{shown}.*; choose another --workdir$"):
        folders.check_path(tmp_path / name / "run")


def test_a_link_to_a_path_that_is_refused(tmp_path):
    (tmp_path / "a\\b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a\\b")
    with pytest.raises(UsageError, match="a run cannot be in a path with"):
        folders.check_path(tmp_path / "link")


EARLY = """
    run.lock .draft-config.json data_fingerprint.txt slurm-17.out job.log job.err
    train.o123 train.e123 nohup.out stdout.txt log.txt lost+found .nfs0001 .DS_Store
"""


def test_files_of_a_killed_start_and_of_a_scheduler_do_not_matter(tmp_path):
    assert folders.foreign_names(tmp_path / "new") == []
    for name in EARLY.split():
        (tmp_path / name).touch()
    assert folders.foreign_names(tmp_path) == []
    for name in ("thesis.tex", "README.md", "out.txt", "logs"):
        (tmp_path / name).touch()
        assert folders.foreign_names(tmp_path) == [name]
        (tmp_path / name).unlink()
    (tmp_path / "file").touch()
    assert folders.foreign_names(tmp_path / "file") == ["file"]


def test_the_next_free_number(tmp_path):
    names = "a-9", "a-10", "a-x-11", "a-", "a-²", "b-77", "[a]-5", "a-5b"
    for name in names:
        (tmp_path / name).mkdir()
    assert folders.next_free(tmp_path, "a") == tmp_path / "a-11"
    assert folders.next_free(tmp_path, "[a]") == tmp_path / "[a]-6"
    assert folders.next_free(tmp_path / "runs", "a") == tmp_path / "runs" / "a-1"


def share(barrier):
    global together
    together = barrier


def make_next(folder: Path) -> str:
    with ExitStack() as cleanup:
        together.wait()
        while not folders.make_new(path := folders.next_free(folder, "a"), cleanup):
            pass
        cleanup.pop_all()
    return path.name


def test_no_two_starts_share_a_new_folder(tmp_path):
    context = multiprocessing.get_context("forkserver")
    with context.Pool(4, share, [context.Barrier(4)]) as pool:
        made = pool.map(make_next, [tmp_path / "runs"] * 40, chunksize=1)
    assert sorted(made) == sorted(f"a-{number}" for number in range(1, 41))


def test_a_folder_that_stays_empty_is_removed(tmp_path):
    path = tmp_path / "runs" / "a-1"
    with ExitStack() as cleanup:
        assert folders.make_new(path, cleanup)
        assert not folders.make_new(path, cleanup)
    assert os.listdir(tmp_path) == []
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file is not a folder; choose another"):
        folders.make_new(tmp_path / "file" / "a", ExitStack())
