"""The lock of a directory: one command at a time writes there.

The operating system keeps the lock and ends it with its process, however that ends. It
works on local disks, and between machines on NFS, GPFS, CephFS and on Lustre that is
mounted with ``flock``. Where the file system has no locks, a command warns and goes on.
"""

import contextlib
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock

from cnn_arch.errors import RunError, UsageError

CHECK_SECONDS = 5.0  # between two looks at the directory
SAME_JOB_SECONDS = 120.0  # a file server keeps the lock of a lost machine so long
NO_LOCKS = errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP


class Lock:
    """The right to write in a directory. The file names its owner to other commands."""

    def __init__(self, path: Path, *, fix: str = "choose another --workdir"):
        """Takes nothing yet.

        Args:
          path: of the lock's file.
          fix: what another command can do instead of waiting for the end of this one.
        """
        self._path, self._fix = path, fix
        self._lock = filelock.FileLock(path, fallback_to_soft=False)
        self._folder = -1  # its file descriptor
        self._names: set[str] = set()  # in the folder, at the start
        self._next_look = 0.0

    def take(
        self, warn: Callable[[str], None] = lambda _: None, wait_seconds: float = 0.0
    ) -> None:
        """Takes the lock.

        Raises:
          UsageError: another command has it after this time, or the directory cannot be
            written.
        """
        folder = self._path.parent
        try:
            self._names = {*os.listdir(folder)}
            self._acquire(wait_seconds)
            self._path.write_text(json.dumps(_this_command()) + "\n")
        except OSError as error:
            if error.errno not in NO_LOCKS:
                self.release()
                reason = f"{error.strerror}; give a folder that you can write"
                raise UsageError(f"--workdir={folder}: {reason}") from None
            self._path.touch()
            warn(f"{folder}: its disk has no locks; start no second command there")
        self._folder = os.open(folder, os.O_RDONLY)
        self._file = os.stat(self._path)

    def _acquire(self, wait_seconds: float) -> None:
        try:
            self._lock.acquire(timeout=wait_seconds)
            return
        except filelock.Timeout:
            owner = _read_owner(self._path)
        job = os.environ.get("SLURM_JOB_ID")
        try:
            if not job or owner.get("job") != job:
                raise filelock.Timeout(str(self._path))
            # Slurm started the job again, so its earlier processes are gone.
            self._lock.acquire(timeout=SAME_JOB_SECONDS)
        except filelock.Timeout:
            raise UsageError(
                f"--workdir={self._path.parent}: {_describe(owner)} uses it; wait for "
                f"its end, or {self._fix}"
            ) from None

    def check(self, *, now: bool = False) -> None:
        """Checks, not too often, that the directory is still where it was.

        Raises:
          RunError: it was moved or deleted, or the lock's file was.
        """
        if self._folder < 0 or not (now or time.monotonic() > self._next_look):
            return
        self._next_look = time.monotonic() + CHECK_SECONDS
        try:
            if os.path.samestat(os.stat(self._path), self._file):
                return
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            if error.errno != errno.ESTALE:  # else a disk that does not answer now
                return
        raise RunError(f"{self._path.parent}: {self._what_happened()}")

    def _what_happened(self) -> str:
        folder = self._path.parent
        try:
            if folder.exists() and os.path.samestat(
                os.stat(folder), os.fstat(self._folder)
            ):
                return (
                    f"{self._path.name} was deleted or replaced while this run used "
                    "the directory, so another run may use it; if not, repeat the "
                    "command to continue from the last checkpoint"
                )
            now = os.readlink(f"/proc/self/fd/{self._folder}")
            if now.endswith(" (deleted)"):
                return (
                    "the directory was deleted while this run used it; the same "
                    "command starts again"
                )
            if os.path.samestat(os.stat(now), os.fstat(self._folder)):
                return (
                    "the directory was moved while this run used it; give --workdir="
                    f"{now} to continue from the last checkpoint"
                )
        except OSError:
            pass
        return (
            "the directory was deleted or moved while this run used it; put it back, "
            "then repeat the command to continue from the last checkpoint"
        )

    def release(self) -> None:
        """Ends the lock. If no other file was made meanwhile, its own goes too."""
        with contextlib.suppress(OSError):  # the folder is gone
            made = {*os.listdir(self._path.parent)} - self._names
            if self._lock.is_locked and made == {self._path.name}:
                self._path.unlink()
        self._lock.release()
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def __enter__(self) -> "Lock":
        """Returns the lock, to release it at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Releases the lock."""
        self.release()


def _this_command() -> dict[str, Any]:
    return {
        "command": Path(sys.argv[0]).name,
        "host": socket.gethostname(),
        "process": os.getpid(),
        "since": time.strftime("%H:%M:%S on %d %b %Y"),
        "job": os.environ.get("SLURM_JOB_ID"),
    }


def _read_owner(path: Path) -> dict[str, Any]:
    try:
        owner = json.loads(path.read_text())
    except (OSError, ValueError):  # it is being written
        owner = None
    return owner if isinstance(owner, dict) else {}


def _describe(owner: dict[str, Any]) -> str:
    if not {"command", "host", "process", "since"} <= owner.keys():
        return "another command"
    return (
        f"{owner['command']} (process {owner['process']} on {owner['host']}, since "
        f"{owner['since']})"
    )
