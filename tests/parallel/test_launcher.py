"""Which process of a run this is."""

import pytest

from cnn_arch.errors import UsageError
from cnn_arch.parallel import launcher
from cnn_arch.parallel.launcher import Process


def find(environment=(), **given):
    options = dict.fromkeys(launcher.OPTIONS) | given
    return launcher.find(options, dict(environment))


def slurm(**changed):
    """Returns what srun tells the second of two tasks on the second of two nodes."""
    return {
        "SLURM_STEP_NODELIST": "node[7-8]",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
        "SLURM_NODEID": "1",
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "1",
    } | changed


def test_a_process_alone():
    assert find() == Process(0, 1)
    assert find({"SLURM_JOB_ID": "1", "SLURM_PROCID": "0"}) == Process(0, 1)  # no srun
    assert find(slurm(SLURM_STEP_NUM_TASKS="1")) == Process(0, 1)


def test_a_process_by_its_options():
    given = {"coordinator": "a:1", "num_processes": "3", "process_id": "2"}
    assert find(slurm(), **given) == Process(2, 3, "a:1")


@pytest.mark.parametrize(
    ("tasks_per_node", "visible", "on_node", "gpus"),
    [
        ("2(x2)", "0,1,2,3", "4", (2, 3)),  # all tasks see the node's four
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
            {"process_id": "1"},
            "--process_id=1: the three go together; add --coordinator and "
            "--num_processes",
        ),
        (
            {"coordinator": "a", "num_processes": "2", "process_id": "1"},
            "--coordinator=a: must be HOST:PORT, such as node1:29400",
        ),
        (
            {"coordinator": "a:1", "num_processes": "0", "process_id": "0"},
            "--num_processes=0: must be 1 or more",
        ),
        (
            {"coordinator": "a:1", "num_processes": "2", "process_id": "2"},
            "--process_id=2: must be one of 0 to 1, another for each process",
        ),
    ],
)
def test_mistakes(given, message):
    with pytest.raises(UsageError) as error:
        find(**given)
    assert str(error.value) == message


def test_gpus_that_tasks_cannot_share():
    environment = slurm(CUDA_VISIBLE_DEVICES="0,1,2")
    with pytest.raises(UsageError, match="2 tasks of a node cannot share 3 GPUs"):
        find(environment)
