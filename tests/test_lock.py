"""One command at a time writes in a directory, and it notices when that is gone."""

import contextlib
import errno
import os
import subprocess
import sys
import time

import pytest

from cnn_arch.errors import RunError, UsageError
from cnn_arch.lock import Lock
from tests.commands import ROOT

HOLDER = """
import sys, time
from pathlib import Path
from cnn_arch.lock import Lock
lock = Lock(Path(sys.argv[1]))
lock.take()
print("taken", flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path / "run" / "run.lock"


@pytest.fixture
def lock(path):
    with Lock(path) as lock:
        lock.take()
        yield lock


def test_the_second_command_says_who_uses_the_directory(lock, path):
    with pytest.raises(UsageError) as raised:
        Lock(path).take()
    text = str(raised.value)
    assert text.startswith(f"--workdir={path.parent}: ")
    assert f"(process {os.getpid()} on {os.uname().nodename}, since " in text
    assert time.strftime("%d %b %Y") in text
    assert text.endswith("wait for its end, or choose another --workdir")
    lock.release()
    with Lock(path) as other:
        other.take()


@contextlib.contextmanager
def holder(path, seconds):
    """Yields a process that has the lock for so long; kills it at the end."""
    words = [sys.executable, "-c", HOLDER, str(path), str(seconds)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout and process.stdout.readline() == b"taken\n"
            yield process
        finally:
            process.kill()


def test_the_lock_of_a_killed_process_ends_with_it(path):
    with holder(path, 60) as process:
        with pytest.raises(UsageError, match=f"process {process.pid} on "):
            Lock(path).take()
    with Lock(path) as lock:
        lock.take()


def test_a_job_that_slurm_starts_again_waits_for_the_old_lock(path, monkeypatch):
    """A file server keeps the lock of a lost machine for a while."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with holder(path, 0.5), Lock(path) as lock:
        lock.take()
    with holder(path, 60), pytest.raises(UsageError, match="uses it"):
        monkeypatch.setenv("SLURM_JOB_ID", "8")  # another job does not wait
        Lock(path).take()


def test_a_disk_without_locks(path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", refuse)
    warnings = []
    with Lock(path) as lock:
        lock.take(warnings.append)
        lock.check(now=True)
    assert warnings == [
        f"{path.parent}: its disk has no locks; start no second command there"
    ]


def test_a_folder_that_cannot_be_written(path, monkeypatch):
    path.mkdir()
    with pytest.raises(UsageError, match=r"Is a directory; give a folder that you can"):
        Lock(path).take()


def test_only_an_unused_lock_is_removed(path):
    with Lock(path) as lock:
        lock.take()
    assert not path.exists()
    with Lock(path) as lock:
        lock.take()
        (path.parent / "config.json").touch()
    assert path.exists()


def test_a_directory_that_is_moved(lock, path):
    lock.check(now=True)
    moved = path.parents[1] / "moved"
    path.parent.rename(moved)
    lock.check()  # not too often
    with pytest.raises(RunError, match=f"was moved .*; give --workdir={moved} to cont"):
        lock.check(now=True)
    path.parent.mkdir()  # another directory has the name now
    with pytest.raises(RunError, match="was moved while this run used it"):
        lock.check(now=True)
    path.parent.rmdir()
    moved.rename(path.parent)
    lock.check(now=True)


def test_a_directory_that_is_deleted(lock, path):
    path.unlink()
    with pytest.raises(RunError, match=r"run\.lock was deleted or replaced"):
        lock.check(now=True)
    path.parent.rmdir()
    with pytest.raises(RunError, match="was deleted while this run used it; the same"):
        lock.check(now=True)
