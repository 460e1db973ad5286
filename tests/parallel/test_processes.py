"""Several processes: who is who, and that together they are one run."""

import argparse
import json
import signal
import time
from functools import partial

import jax
import numpy as np
import pytest

from cnn_arch.errors import UsageError
from cnn_arch.models import create_model
from cnn_arch.parallel import processes
from cnn_arch.parallel.processes import Process
from cnn_arch.training.checkpoint import Checkpoints
from tests.models.conftest import abstract_variables
from tests.parallel import launch
from tests.parallel.launch import RECIPE, STEPS_PER_EPOCH, assert_same_run

run_two = partial(launch.run, num_processes=2)
start_two = partial(launch.start, num_processes=2)


def find(environment=(), **given):
    names = "coordinator", "num_processes", "process_id"
    options = argparse.Namespace(**{name: given.get(name) for name in names})
    return processes.find(options, dict(environment))


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


def test_one_process_has_the_whole_batch_on_any_mesh():
    for shape in ((8, 1), (4, 2), (1, 8)):
        mesh = jax.make_mesh(shape, ("data", "model"))
        assert processes.batch_share(mesh) == (0, 1)
    assert processes.gather({"a": [1]}) == [{"a": [1]}]
    assert processes.largest(15) == 15


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Keeps compiled programs for these tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The run of one process with two devices."""
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    launch.run("train.py", *RECIPE, f"--workdir={workdir}", num_devices=2)
    return workdir


def test_two_processes_stop_together_and_end_as_one_does(finished, tmp_path):
    """SIGTERM to one stops both after the same step; they go on bit for bit."""
    words = *RECIPE, "--config.checkpoint.every_minutes=0.01"
    words = *words, f"--workdir={tmp_path / 'two'}"
    started = start_two("train.py", *words)
    launch.wait_for_steps(tmp_path / "two", STEPS_PER_EPOCH + 1)
    started[1].send_signal(signal.SIGTERM)
    (status, shown, errors), *others = launch.finish(started)
    assert status == 0, errors
    assert "saved. Continue: python" in shown
    assert [status for status, _, _ in others] == [0], others
    steps = launch.rows(tmp_path / "two" / "steps.csv")
    assert STEPS_PER_EPOCH < len(steps) < 3 * STEPS_PER_EPOCH

    (_, shown, _), (_, other_shown, other_errors) = run_two("train.py", *words)
    assert "resume   epoch" in shown and "2 processes" in shown
    assert not [line for line in other_shown.splitlines() if "[Gloo]" not in line]
    assert not other_errors
    assert_same_run(finished, tmp_path / "two")
    results = json.loads((tmp_path / "two" / "eval" / "results.json").read_text())
    assert results["test"]["num_examples"] == 1000
    assert results["test"]["top1_error"] < 20
    names = {path.name for path in (tmp_path / "two").iterdir()}
    assert names - {path.name for path in finished.iterdir()} == {
        path.name for path in (tmp_path / "two").glob("events.*")
    }


def test_a_process_that_is_killed_ends_the_others(tmp_path):
    words = *RECIPE, "--config.epochs=100", f"--workdir={tmp_path / 'run'}"
    started = start_two("train.py", *words)
    launch.wait_for_steps(tmp_path / "run", STEPS_PER_EPOCH + 1)
    started[1].kill()
    begin = time.monotonic()
    status, _, errors = launch.finish(started)[0]
    assert time.monotonic() - begin < 30
    assert status == 1, errors
    cause = "error: process 0: another process of the run has ended"
    assert [line for line in errors.splitlines() if line.startswith(cause)], errors
    assert cause[7:] in (tmp_path / "run" / "log.txt").read_text()

    shapes = abstract_variables(create_model("lenet5", 10), 32, 1)
    placed = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = jax.tree.map(lambda x: x.update(sharding=placed), shapes)
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", warn=pytest.fail)
    params, _, step = checkpoints.restore_variables(shapes["params"], {}, "last")
    assert step >= STEPS_PER_EPOCH
    assert np.isfinite(params["C1"]["kernel"]).all()
