"""The Slurm of these tests: facts that the other tests rely on."""

import pytest

pytestmark = pytest.mark.slurm


def test_a_job_has_a_task_on_each_node(slurm):
    shown = slurm.run("srun", "--nodes=2", "--label", "printenv", "SLURM_STEP_NODELIST")
    assert sorted(shown.splitlines()) == ["0: 127.0.0.[1-2]", "1: 127.0.0.[1-2]"]


def test_gpus_are_assigned(slurm):
    words = "--gpus-per-node=2", "printenv", "CUDA_VISIBLE_DEVICES"
    assert slurm.run("srun", *words) == "0,1"
