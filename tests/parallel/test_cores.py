"""The cores that a process may use, by each of the ways to limit them."""

import os

import pytest

from cnn_arch.data.sources import num_threads
from cnn_arch.datasets.listing import list_folder
from cnn_arch.parallel import cores
from cnn_arch.parallel.control_groups import folders
from cnn_arch.parallel.mesh import describe, make_mesh
from configs import base


@pytest.fixture
def many(monkeypatch):
    """A machine of 128 cores, without a limit."""
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(128)))
    monkeypatch.setattr(cores, "limit", lambda *_: None)
    for name in cores.SLURM_COUNTS:
        monkeypatch.delenv(name, raising=False)


def test_a_binding_to_some_cores(many, monkeypatch):
    assert cores.usable() == 128
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4, 5, 6})
    assert cores.usable() == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4})
    assert describe(make_mesh(1, 1)).startswith("cpu, 1 core, ")


def test_the_cores_of_a_slurm_task(many, monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "16")
    assert cores.usable() == 16
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "4(x2)")
    monkeypatch.setenv("SLURM_NODEID", "1")
    assert cores.usable() == 4
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    assert cores.usable() == 2


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        ({"": "max 100000"}, None),
        ({}, None),
        ({"": "150000 100000"}, 2),
        ({"job/task": "max 100000", "job": "300000 100000", "": "max 1"}, 3),
        ({"job/task": "50000 100000", "job": "300000 100000"}, 1),
        ({"": "damaged"}, None),
    ],
)
def test_the_limit_of_a_container(tmp_path, limits, count):
    own = tmp_path / "own"
    own.write_text("4:memory:/other\n0::/job/task\n")
    (tmp_path / "job" / "task").mkdir(parents=True)
    for folder, text in limits.items():
        (tmp_path / folder / "cpu.max").write_text(f"{text}\n")
    assert cores.limit(folders(tmp_path, own)) == count
    assert cores.limit(folders(tmp_path, tmp_path / "none")) is None


def test_the_loader_has_a_thread_for_each_of_them(many, monkeypatch, photos):
    source = list_folder(str(photos)).images
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4, 5, 6, 7})
    data = base.get_config().data
    assert num_threads(source, data) == 4
    data.num_threads = 9
    assert num_threads(source, data) == 9
