"""Several processes that together make one run."""

import json
import os
import resource
import signal
import time
from functools import partial

import jax
import numpy as np
import pytest

from cnn_arch.checkpoints.checkpoint import Checkpoints
from cnn_arch.models import create_model
from cnn_arch.parallel import processes
from cnn_arch.parallel.agreement import Agreement, Wish
from cnn_arch.parallel.mesh import abstract
from tests.models.conftest import abstract_variables
from tests.parallel import launch
from tests.parallel.launch import RECIPE, STEPS_PER_EPOCH
from tests.runs import assert_same_run, rows

EARLY = "--config.checkpoint.every_minutes=0.01"
run_two = partial(launch.run, num_processes=2)
start_two = partial(launch.start, num_processes=2)
# Two processes on one core have a thread each; one process with two devices has two
# threads, and rounds a loss in the 36th step differently.
a_core_for_each = pytest.mark.skipif(
    hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < 2,
    reason="needs a core for each process",
)


def test_one_process_has_the_whole_batch_on_any_mesh():
    for shape in ((8, 1), (4, 2), (1, 8)):
        mesh = jax.make_mesh(shape, ("data", "model"))
        assert processes.batch_share(mesh) == (0, 1)
    assert processes.gather({"a": [1]}) == [{"a": [1]}]


def test_a_single_process_has_its_answer_at_once():
    agreement = Agreement()
    for wish in (Wish(save=True), Wish(signal=15), Wish()):
        agreement.ask(wish)
    assert agreement.hear(num_left=2) == Wish(save=True, signal=15)
    assert agreement.hear() == Wish()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The run of one process with two devices."""
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    launch.run("train.py", *RECIPE, f"--workdir={workdir}", num_devices=2)
    return workdir


@a_core_for_each
@pytest.mark.slow
def test_two_processes_stop_together_and_end_as_one_does(finished, tmp_path):
    """SIGTERM to one stops both after the same step; they continue bit for bit."""
    words = *RECIPE, EARLY, f"--workdir={tmp_path / 'two'}"
    started = start_two("train.py", *words)
    launch.wait_for_steps(tmp_path / "two", STEPS_PER_EPOCH + 1)
    started[1].send_signal(signal.SIGTERM)
    results = launch.finish(started)
    assert [status for status, _, _ in results] == [0, 0], results
    assert "saved. Continue: python" in results[0][1]
    steps = rows(tmp_path / "two" / "steps.csv")
    assert STEPS_PER_EPOCH < len(steps) < 2 * STEPS_PER_EPOCH

    (_, shown, _), (_, other_shown, other_errors) = run_two("train.py", *words)
    assert "resume   epoch" in shown and "2 processes" in shown
    assert not other_shown
    assert not [line for line in other_errors.splitlines() if "[Gloo]" not in line]
    assert_same_run(finished, tmp_path / "two")
    assert_has_learned(tmp_path / "two")
    names = {path.name for path in (tmp_path / "two").iterdir()}
    assert names - {path.name for path in finished.iterdir()} == {
        path.name for path in (tmp_path / "two").glob("events.*")
    }


def assert_has_learned(workdir):
    results = json.loads((workdir / "eval" / "results.json").read_text())
    assert results["test"]["num_examples"] == 1000
    assert results["test"]["top1_error"] < 30


def kill_one_of_two(workdir, killed, num_steps):
    """Kills a process after some steps; returns the other's status and stderr."""
    words = *RECIPE, "--config.epochs=100", EARLY, f"--workdir={workdir}"
    started = start_two("train.py", *words)
    launch.wait_for_steps(workdir, num_steps)
    started[killed].kill()
    begin = time.monotonic()
    status, _, errors = launch.finish(started)[1 - killed]
    assert time.monotonic() - begin < 300  # JAX by itself would never stop waiting
    return status, errors


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_others(tmp_path):
    status, errors = kill_one_of_two(tmp_path / "run", killed=1, num_steps=100)
    assert status == 1, errors
    cause = "process 0: another process of the run has ended"
    assert f"\nerror: {cause}" in f"\n{errors}"
    assert cause in (tmp_path / "run" / "log.txt").read_text()

    shapes = abstract_variables(create_model("lenet5", 10), 32, 1)
    alone = jax.make_mesh((1, 1), ("data", "model"), devices=jax.devices()[:1])
    shapes = abstract(shapes, None, alone)
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", warn=pytest.fail)
    variables, step = checkpoints.restore_variables(
        {"params": shapes["params"], "batch_stats": {}}, "last"
    )
    assert step > 0
    assert np.isfinite(variables["params"]["C1"]["kernel"]).all()


@pytest.mark.slow
def test_the_first_process_counts_the_images_for_all(tmp_path):
    words = *RECIPE, "--config.data.mean=()", "--config.data.std=()"
    for num_processes, name in ((1, "one"), (2, "two")):
        words_of_run = *words, f"--workdir={tmp_path / name}"
        launch.run("train.py", *words_of_run, num_processes=num_processes)
    one, two = (
        json.loads((tmp_path / name / "config.json").read_text())["data"]
        for name in ("one", "two")
    )
    assert (one["mean"], one["std"]) == (two["mean"], two["std"])
    assert all(0 < number < 255 for number in (*one["mean"], *one["std"]))


@pytest.mark.slow
def test_two_processes_measure_the_statistics_of_batch_norm_as_one(tmp_path):
    words = "--config=configs/resnet20.py:mnist5k", "--config.steps=20"
    words += ("--config.precision=float32",)
    words += "--config.batch_size=20", "--config.optim.learning_rate=0.001"
    words += ("--config.batch_norm_images=64",)
    tests = []
    for num_processes in (1, 2):
        workdir = tmp_path / f"{num_processes}"
        devices = {"num_processes": num_processes, "num_devices": 2 // num_processes}
        launch.run("train.py", *words, f"--workdir={workdir}", **devices)
        tests.append(json.loads((workdir / "eval" / "results.json").read_text()))
    one, two = (each["test"] for each in tests)
    assert one["batch_norm_images"] == two["batch_norm_images"] >= 64
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)


@pytest.mark.slow
def test_a_run_continues_with_any_processes_and_devices(finished, tmp_path):
    """Two processes with two devices each, one with four, and one with one."""
    words = *RECIPE, EARLY, f"--workdir={tmp_path / 'run'}"
    for epoch, (num_processes, num_devices) in enumerate(((2, 2), (1, 4))):
        how = {"num_processes": num_processes, "num_devices": num_devices}
        started = launch.start("train.py", *words, **how)
        launch.wait_for_steps(tmp_path / "run", epoch * STEPS_PER_EPOCH + 20)
        started[-1].send_signal(signal.SIGTERM)
        results = launch.finish(started)
        assert [status for status, _, _ in results] == [0] * num_processes, results
    ((_, shown, _),) = launch.run("train.py", *words)
    assert "resume   epoch" in shown
    one, other = (rows(path / "steps.csv") for path in (finished, tmp_path / "run"))
    assert [row["step"] for row in one] == [row["step"] for row in other]
    # Later losses differ more and more, by rounding.
    first, other_first = (float(steps[0]["loss"]) for steps in (one, other))
    assert other_first == pytest.approx(first, rel=1e-5)
    assert_has_learned(tmp_path / "run")


@a_core_for_each
@pytest.mark.slow
def test_two_processes_evaluate_as_one_does(finished):
    predictions = (finished / "eval" / "predictions_test.csv").read_bytes()
    before = json.loads((finished / "eval" / "results.json").read_text())
    (_, shown, _), (_, other_shown, _) = run_two(
        "eval.py", f"--workdir={finished}", "--json"
    )
    assert json.loads(shown) == {"test": before["test"]}
    assert other_shown == ""
    assert (finished / "eval" / "predictions_test.csv").read_bytes() == predictions


@pytest.mark.slow
def test_the_first_process_that_is_killed_ends_the_others(tmp_path):
    status, errors = kill_one_of_two(tmp_path / "run", killed=0, num_steps=20)
    assert status != 0
    assert "process" in errors


@pytest.mark.slow
@pytest.mark.parametrize("failing", [0, 1])
def test_a_write_that_fails_in_one_process_ends_both(tmp_path, failing):
    workdir = tmp_path / "run"
    words = *RECIPE, "--config.epochs=100", EARLY, f"--workdir={workdir}"
    started = start_two("train.py", *words)
    launch.wait_for_steps(workdir, 100)
    limits = 2000, 2000  # bytes; no file can grow beyond them
    resource.prlimit(started[failing].pid, resource.RLIMIT_FSIZE, limits)
    begin = time.monotonic()
    results = launch.finish(started)
    assert time.monotonic() - begin < 300
    assert all(status != 0 for status, _, _ in results), results
    _, _, errors = results[failing]
    (line,) = (line for line in errors.splitlines() if line.startswith("error: "))
    assert line.startswith(f"error: process {failing}: ")
    assert "File too large; " in line
    assert "the same command continues" in line or "to continue from the last" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_parts", "more", "message"),
    [
        (1, 0, "--config.mesh.data=1: 2 processes have 2 devices, and all must be"),
        (0, 1, "2 processes: have 1 to 2 devices; give all of them equally many"),
    ],
)
def test_every_process_needs_the_same_work(tmp_path, num_parts, more, message):
    words = *RECIPE, f"--config.mesh.data={num_parts}", f"--workdir={tmp_path / 'run'}"
    for status, _, errors in launch.finish(start_two("train.py", *words, more=more)):
        assert status == 2
        assert message in errors
