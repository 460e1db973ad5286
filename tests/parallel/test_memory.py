"""The memory that a process may use, by the limits of its control groups."""

import psutil
import pytest

from cnn_arch.parallel import memory
from cnn_arch.parallel.control_groups import folders


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"": ("max", 5, 0)}, None),
        ({}, None),
        ({"": (100, 30, 0)}, 70),
        ({"": (100, 30, 10)}, 80),  # 10 of the 30 are files, which can go
        ({"": (100, 130, 0)}, 0),
        ({"job/task": ("max", 1, 0), "job": (60, 20, 5), "": (100, 90, 0)}, 10),
        ({"": ("damaged", 1, 0)}, None),
    ],
)
def test_the_limit_of_a_job(tmp_path, limits, expected):
    own = tmp_path / "own"
    own.write_text("0::/job/task\n")
    (tmp_path / "job" / "task").mkdir(parents=True)
    for folder, (most, used, files) in limits.items():
        place = tmp_path / folder
        (place / "memory.max").write_text(f"{most}\n")
        (place / "memory.current").write_text(f"{used}\n")
        (place / "memory.stat").write_text(f"anon 3\ninactive_file {files}\nslab 1\n")
    assert memory.limit(folders(tmp_path, own)) == expected
    assert memory.limit(folders(tmp_path, tmp_path / "none")) is None


def test_the_lower_of_machine_and_job(monkeypatch):
    machine = psutil.virtual_memory().total
    monkeypatch.setattr(memory, "limit", lambda _: None)
    assert 0 < memory.available() <= machine
    monkeypatch.setattr(memory, "limit", lambda _: 1000)
    assert memory.available() == 1000
    monkeypatch.setattr(memory, "limit", lambda _: 2 * machine)
    assert memory.available() <= machine
