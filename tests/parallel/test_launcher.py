"""The process of a run, found from options or from Slurm's variables."""

import pytest

from cnn_arch.errors import UsageError
from cnn_arch.parallel import launcher
from cnn_arch.parallel.launcher import Process


def find(environment=(), **given):
    options = dict.fromkeys(launcher.OPTIONS) | given
    return launcher.find(options, dict(environment))


def slurm(**changed):
    """Returns srun's variables for the second task on the second of two nodes."""
    return {
        "SLURM_STEP_NODELIST": "node[7-8]",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
        "SLURM_NODEID": "1",
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "1",
    } | changed


def test_a_single_process():
    without_srun = {"SLURM_JOB_ID": "1", "SLURM_PROCID": "0"}
    for environment in ({}, without_srun, slurm(SLURM_STEP_NUM_TASKS="1")):
        assert find(environment) == Process(0, 1)


def test_a_process_by_its_options():
    given = {"coordinator": "a:1", "num_processes": "3", "process_id": "2"}
    assert find(slurm(), **given) == Process(2, 3, "a:1")


@pytest.mark.parametrize(
    ("tasks_per_node", "visible", "on_node", "gpus"),
    [
        ("2(x2)", "0,1,2,3", "4", (2, 3)),  # two tasks share the node's four GPUs
        ("2(x2)", "2,3", "4", (0, 1)),  # --gpus-per-task=2
        ("2(x2)", "1", "2", (0,)),  # --gpu-bind
        ("3,1", "0,1,2,3", "4", (0, 1, 2, 3)),  # one task, four GPUs
        ("2(x2)", "", "0", None),
    ],
)
def test_the_gpus_of_a_task(tasks_per_node, visible, on_node, gpus):
    environment = slurm(
        SLURM_STEP_TASKS_PER_NODE=tasks_per_node,
        SLURM_GPUS_ON_NODE=on_node,
        CUDA_VISIBLE_DEVICES=visible,
    )
    process = find(environment)
    assert (process.index, process.count, process.gpus) == (3, 4, gpus)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            (None, None, "1"),
            "--process_id=1: the three go together; add --coordinator and "
            "--num_processes",
        ),
        (
            ("a", "2", "1"),
            "--coordinator=a: must be HOST:PORT, such as node1:29400",
        ),
        (("a:1", "0", "0"), "--num_processes=0: must be 1 or more"),
        (
            ("a:1", "2", "2"),
            "--process_id=2: must be one of 0 to 1, another for each process",
        ),
    ],
)
def test_wrong_options(given, message):
    with pytest.raises(UsageError) as error:
        find(**dict(zip(launcher.OPTIONS, given, strict=True)))
    assert str(error.value) == message


def test_gpus_that_tasks_cannot_share():
    environment = slurm(CUDA_VISIBLE_DEVICES="0,1,2")
    with pytest.raises(UsageError, match="2 tasks of a node cannot share 3 GPUs"):
        find(environment)
