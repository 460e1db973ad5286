"""The Slurm cluster that all tests of this folder share."""

import os
from collections.abc import Iterator

import pytest

from tests.cluster.slurm import PROGRAMS, Slurm, find


@pytest.fixture(scope="session")
def slurm_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Starts and stops the cluster."""
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
    """Lends the cluster to a test, and ends the test's jobs afterwards."""
    yield slurm_cluster
    slurm_cluster.end_jobs()
