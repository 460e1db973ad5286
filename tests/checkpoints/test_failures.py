"""Saves that fail, and disks that do not do what they should."""

import errno
import os
import resource
import shutil
import threading
from pathlib import Path

import pytest

from cnn_arch.checkpoints import step_folders
from cnn_arch.errors import RunError
from tests.checkpoints.conftest import Run, make_state


def test_write_that_fails_is_reported_and_harmless(saved: Run):
    """A limit on the size of files simulates a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        with pytest.raises(RunError) as raised:
            saved.save_state(make_state(4, width=2000), 1.0)
            saved.checkpoints.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    text = str(raised.value)
    assert text.startswith("checkpoint at step 4: not saved to ")
    assert "File too large; it needs 15.3 MiB and " in text
    assert text.endswith("MiB are free; the same command continues from step 3")
    assert saved.names() == ["1", "2", "3", "best", "last"]
    saved.checkpoints.close()
    saved.assert_newest(3)


def test_directory_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").touch()
    run = Run(tmp_path / "file" / "checkpoints")
    with pytest.raises(RunError, match=r"Not a directory; the same .* starts again$"):
        run.save(1)


@pytest.mark.parametrize("folder", ["4.orbax-checkpoint-tmp", "opt_state", "record"])
def test_a_folder_of_a_save_that_cannot_be_made(saved: Run, monkeypatch, folder):
    """It fails at once; a thread that waits for the folder would keep the process."""
    mkdir, threads = os.mkdir, set(threading.enumerate())

    def fail(path: str, *words) -> None:
        if Path(path).name == folder:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        mkdir(path, *words)

    monkeypatch.setattr(os, "mkdir", fail)
    with pytest.raises(RunError, match=r"quota exceeded; .* continues from step 3$"):
        saved.save_and_close(4)
    monkeypatch.undo()
    for thread in set(threading.enumerate()) - threads:
        thread.join(10)
        assert thread.daemon or not thread.is_alive(), thread
    saved.assert_newest(3)
    saved.save_and_close(4)
    saved.assert_newest(4)
    # Another thread may have made a folder after the failure; now it is gone.
    assert saved.names() == ["1", "3", "4", "best", "last"]


def test_a_save_that_the_disk_does_not_confirm(saved: Run, monkeypatch):
    """The step is there, nothing is deleted, and the message says so."""
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("/4/record/data.json"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RunError) as raised:
        saved.save_and_close(4, 8.0)
    text = str(raised.value)
    assert text.startswith("checkpoint at step 4: written to ")
    assert "does not confirm it (Input/output error); check the disk" in text
    assert "continues from step 4" in text
    assert saved.names() == ["1", "2", "3", "4", "best", "last"]
    with pytest.raises(RunError, match="does not confirm"):  # before it deletes
        saved.restore()
    assert "2" in saved.names()
    monkeypatch.undo()
    saved.assert_newest(4)
    assert saved.names() == ["1", "3", "4", "best", "last"]


def test_a_file_system_without_fsync(saved: Run, monkeypatch):
    def refuse(descriptor: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", refuse)
    saved.save_and_close(4, 8.0)
    saved.assert_newest(4)


def test_something_else_has_the_name_of_a_step(saved: Run):
    (saved.directory / "4").mkdir()
    (saved.directory / "4" / "thesis.tex").touch()
    with pytest.raises(RunError, match=r"step 4: not saved.* move it away; the same"):
        saved.save(4)
    assert (saved.directory / "4" / "thesis.tex").exists()
    (saved.directory / "5").mkdir()  # empty, as after a loss of power
    saved.save_and_close(5)
    saved.assert_newest(5)


def test_what_a_kill_left_undone_is_completed(saved: Run):
    """A finished run is opened again: nothing is saved any more."""
    folder = saved.directory
    saved.save_and_close(4, 3.0)
    for link, step in (("last", "3"), ("best", "1")):
        (folder / link).unlink()
        (folder / link).symlink_to(step)
    shutil.copytree(folder / "3", folder / "2")
    for name in ("108-deleted", "4-replaced", "9.orbax-checkpoint-tmp"):
        (folder / name / "params").mkdir(parents=True)
    saved.assert_newest(4)
    assert saved.names() == ["3", "4", "best", "last"]
    assert os.readlink(folder / "last") == os.readlink(folder / "best") == "4"


def test_a_step_that_a_training_run_deletes_meanwhile(saved: Run, monkeypatch):
    """The evaluation of the best takes the one that is best now."""
    find_best = step_folders.find_best

    def find_then_train(*words):
        best = find_best(*words)
        monkeypatch.setattr(step_folders, "find_best", find_best)
        Run(saved.directory).save_and_close(4, 1.0)
        return best

    monkeypatch.setattr(step_folders, "find_best", find_then_train)
    assert saved.restore_variables("best")[2] == 4
    assert "1" not in saved.names()
