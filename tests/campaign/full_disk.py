"""A disk that is full: a tmpfs of any size, enlarged afterwards."""

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.campaign.lab import Lab, Part, shown
from tests.campaign.table import Trial

LARGE = 64 * 2**20


def _mount(folder: Path, size: int, *options: str) -> None:
    words = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options])]
    words += ["tmpfs", str(folder)]
    subprocess.run(words, check=True, capture_output=True)


def _umount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


@functools.cache
def bytes_of_a_run(lab: Lab) -> int:
    """Returns the space that an undisturbed run takes, in whole pages."""
    sizes = [path.lstat().st_size for path in lab.oracle.reference.rglob("*")]
    return sum(-(-size // 4096) * 4096 for size in sizes)


def run(lab: Lab, numbers: Sequence[int]) -> Iterator[Trial]:
    """Fills the disk at some moment of a run; with more space, the command works."""
    disk = lab.folder / "disk"
    disk.mkdir(exist_ok=True)
    for number in numbers:
        generator = lab.generator("disk", number)
        size = int(generator.uniform(4096, 1.1 * bytes_of_a_run(lab)))
        _mount(disk, size)
        try:
            workdir = disk / "run"
            ended = lab.train(workdir)
            fault = ended.fault() or lab.oracle.check_steps(workdir)
            if not fault and ended.status == 0:
                fault = lab.oracle.check(workdir)
                fault = f"false success: {fault}" if fault else ""
            _mount(disk, LARGE, "remount")
            fault = fault or lab.finish(workdir)
        finally:
            _umount(disk)
        case = f"disk of {size:,} bytes, status {ended.status}"
        yield Trial(number, case, fault, shown(ended) if fault else "")


def _obstacle(lab: Lab) -> str:
    if os.geteuid() or not shutil.which("mount"):
        return "only root can mount a tmpfs"
    folder = lab.folder / "disk"
    folder.mkdir(exist_ok=True)
    try:
        _mount(folder, 4096)
    except subprocess.CalledProcessError as error:
        return f"no tmpfs here: {error.stderr.decode().strip()}"
    _umount(folder)
    return ""


PART = Part(
    "disk",
    "a real full disk (tmpfs) of a random size, then the same command with more space",
    (1, 20, 100),
    run,
    _obstacle,
)
