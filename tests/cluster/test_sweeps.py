"""sweep.py on a real Slurm: an array, a crash, a requeue, a killed launcher."""

import json
import re
import subprocess

import pytest

from tests.cluster.slurm import wait_until
from tests.commands import ROOT, command
from tests.runs import rows

pytestmark = pytest.mark.slurm

NUM_EPOCHS = 10
STEPS_PER_EPOCH = 54  # 3,500 images // 64


def environment(slurm):
    return slurm.env | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}


def sweep(slurm, *words):
    """Runs the command on the cluster; returns its output."""
    return slurm.run(*command("sweep.py", *words), cwd=ROOT, env=environment(slurm))


def recipe(tmp_path, trials, epochs):
    path = tmp_path / "trials.py"
    path.write_text(f"def get_sweep():\n    return {trials!r}\n")
    return (
        "--config=configs/lenet5.py",
        f"--config.epochs={epochs}",
        f"--sweep={path}",
        "--executor=slurm",
        "--partition=main",
        f"--workdir={tmp_path / 'sweep'}",
    )


def status(slurm, workdir):
    """Returns the trials' states, the output of --status and the updated manifest."""
    shown = sweep(slurm, f"--workdir={workdir}", "--status")
    states = re.findall(r"^trial-\d\d +(\w+)", shown, re.MULTILINE)
    trials = json.loads((workdir / "manifest.json").read_text())["trials"]
    assert [trial["state"] for trial in trials] == states
    return states, shown, trials


def wait_until_done(slurm, workdir):
    """Waits for Slurm, which costs less than to ask ``--status`` again and again."""
    wait_until(lambda: not slurm.run("squeue", "--noheader"), "the jobs")
    states, shown, _ = status(slurm, workdir)
    assert set(states) == {"done"}, shown


def assert_all_steps(workdir, num_epochs):
    steps = [int(row["step"]) for row in rows(workdir / "trial-00" / "steps.csv")]
    assert steps == list(range(1, num_epochs * STEPS_PER_EPOCH + 1))


def test_an_array_of_trials_one_fails_and_one_diverges(slurm, tmp_path):
    trials = [{"seed": 0}, {"init_from": "nowhere"}, {"optim.learning_rate": 1e38}]
    workdir = tmp_path / "sweep"
    words = recipe(tmp_path, trials, 1)
    shown = sweep(slurm, *words, "--max_parallel=2", "--time=10")
    assert f"python sweep.py --workdir={workdir} --status" in shown
    jobs = [trial["job"] for trial in status(slurm, workdir)[2]]
    array = jobs[0].partition("_")[0]
    assert jobs == [f"{array}_{index}" for index in range(3)]
    assert slurm.field(jobs[2], "ArrayTaskThrottle") == "2"
    assert slurm.field(jobs[0], "TimeLimit") == "00:10:00"

    wait_until(lambda: not slurm.run("squeue", "--noheader"), "the array")
    states, shown, _ = status(slurm, workdir)
    assert states == ["done", "failed", "diverged"]
    assert "no such run or file" in shown  # the last lines of both
    assert "must be finite" in shown
    for row in rows(workdir / "results.csv"):
        if row["state"] == "done":
            results = workdir / row["trial"] / "eval" / "results.json"
            tested = json.loads(results.read_text())["test"]
            assert float(row["test_top1_error"]) == tested["top1_error"]
    # Nothing is tried again by itself; --resume submits only the failed trial.
    sweep(slurm, f"--workdir={workdir}", "--resume")
    states, _, trials = status(slurm, workdir)
    assert (states[0], states[2]) == ("done", "diverged")
    assert trials[1]["submission"].endswith(".1/0")


def test_a_trial_is_requeued_and_its_launcher_killed(slurm, tmp_path):
    """No step is lost by a requeue in a trial, or by a launcher killed at sbatch."""
    workdir = tmp_path / "sweep"
    words = recipe(tmp_path, [{"seed": 3}], NUM_EPOCHS)
    # Killed as soon as the job exists: the manifest may not have it.
    with subprocess.Popen(
        command("sweep.py", *words),
        cwd=ROOT,
        env=environment(slurm),
        stdout=subprocess.DEVNULL,
    ) as launcher:
        wait_until(lambda: slurm.run("squeue", "--noheader"), "the job")
        launcher.kill()
    sweep(slurm, *words)  # finds the job, and submits nothing
    (job,) = slurm.run("squeue", "--noheader", "--format=%A").split()
    states, _, trials = status(slurm, workdir)
    assert states in (["queued"], ["running"])
    assert trials[0]["job"] == job
    # The partition has no limit: shown while the job waits, and when it runs.
    assert slurm.field(job, "TimeLimit") in ("UNLIMITED", "365-00:00:00")

    metrics = workdir / "trial-00" / "metrics.csv"

    def has_epochs():
        return metrics.exists() and len(rows(metrics)) >= 2

    wait_until(has_epochs, "two epochs")
    slurm.run("scontrol", "requeue", job)
    wait_until(lambda: slurm.field(job, "Restarts") == "1", "the requeue")
    states, _, _ = status(slurm, workdir)
    assert states in (["queued"], ["running"])
    wait_until_done(slurm, workdir)
    assert "resume   epoch" in (workdir / "trial-00" / "log.txt").read_text()
    epochs = [float(row["epoch"]) for row in rows(metrics)]
    assert epochs == list(range(1, NUM_EPOCHS + 1))
    assert_all_steps(workdir, NUM_EPOCHS)


def test_a_trial_on_two_nodes(slurm, tmp_path):
    """Two processes, each with one GPU, are one run."""
    workdir = tmp_path / "sweep"
    words = recipe(tmp_path, [{"seed": 4}], 2)
    resources = "--nodes=2", "--gpus_per_node=1", "--cpus_per_task=1"
    sweep(slurm, *words, *resources)
    wait_until_done(slurm, workdir)
    page = (workdir / "trial-00" / "README.md").read_text()
    assert "as 2 devices, 2 processes" in page
    assert_all_steps(workdir, 2)
