"""The one Slurm cluster of this folder's tests; it is slurm.py that knows of Slurm."""

import os
from collections.abc import Iterator

import pytest

from tests.cluster.slurm import PROGRAMS, Slurm, find


@pytest.fixture(scope="session")
def slurm_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Starts the one cluster of all tests."""
    missing = [program for program in PROGRAMS if not find(program)]
    if missing:
        pytest.skip(f"no {', '.join(missing)}: apt-get install slurm-wlm munge")
    if os.geteuid():
        pytest.skip("Slurm's daemons need root")
    cluster = Slurm(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def slurm(slurm_cluster: Slurm) -> Iterator[Slurm]:
    """Lends the cluster to a test, and ends the jobs that it leaves."""
    yield slurm_cluster
    slurm_cluster.end_jobs()
