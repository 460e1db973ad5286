"""The limits that Linux sets for this process by its control groups (version 2)."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def folders(root: Path = ROOT, own: Path = OWN) -> Iterator[Path]:
    """Yields the folders of the process's group and of those around it.

    Args:
      root: the folder of all groups.
      own: the file that names the group of the process.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    group = Path(next((line[4:] for line in lines if line.startswith("0::/")), ""))
    for folder in (group, *group.parents):
        yield root / folder
