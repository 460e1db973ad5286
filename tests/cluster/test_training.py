"""Training under Slurm: two nodes, preemption, requeueing, crashes, lost nodes."""

import json
import sys
import time

import pytest

from tests.cluster.slurm import NODES, wait_until
from tests.commands import ROOT, environment
from tests.parallel import launch
from tests.parallel.launch import RECIPE, STEPS_PER_EPOCH
from tests.runs import assert_same_run

pytestmark = pytest.mark.slurm

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A run of one process with two devices, without Slurm."""
    workdir = tmp_path_factory.mktemp("runs") / "uninterrupted"
    launch.run("train.py", *RECIPE, f"--workdir={workdir}", num_devices=2)
    return workdir


class Job:
    """A run of train.sbatch with a device on each of two nodes."""

    def __init__(self, slurm, workdir):
        self.slurm, self.workdir = slurm, workdir
        self.log = workdir.parent / "job.log"
        self.submit()

    def submit(self):
        words = "--config.checkpoint.every_minutes=0.01", f"--workdir={self.workdir}"
        words = f"--output={self.log}", ROOT / "train.sbatch", *RECIPE, *words
        variables = self.slurm.env | environment()
        variables |= {"SLURM_CONF": self.slurm.env["SLURM_CONF"]}
        self.number = self.slurm.run("sbatch", "--parsable", *words, env=variables)

    def text(self):
        return self.log.read_text() if self.log.exists() else ""

    def assert_says(self, words):
        text = self.text()
        assert words in text, text

    def state(self):
        return self.slurm.state(self.number)

    def wait_until_ended(self, state):
        wait_until(lambda: self.state() in ENDED, f"the end:\n{self.text()}")
        assert self.state() == state, self.text()

    def tasks(self, node):
        """Returns the processes of train.py on a node."""
        return [
            process
            for process in self.slurm.processes(node)
            if str(self.workdir) in " ".join(process.cmdline())
            and process.name() not in ("srun", "slurm_script")
        ]


def test_the_processes_of_a_step(slurm):
    """Each task finds its place and its GPUs in the variables of a real Slurm."""
    code = (
        "import os; from cnn_arch.parallel import launcher as p; "
        "found = p.find(dict.fromkeys(p.OPTIONS), os.environ); "
        "print(found.index, found.count, found.gpus)"
    )
    python = ROOT / ".venv" / "bin" / "python", "-c", code

    def find(*options):
        return sorted(slurm.run("srun", *options, *python, cwd=ROOT).splitlines())

    options = "--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=4"
    assert find(*options) == ["0 2 (0, 1, 2, 3)", "1 2 (0, 1, 2, 3)"]
    options = "--nodes=2", "--ntasks-per-node=2", "--gpus-per-node=4"
    expected = ["0 4 (0, 1)", "1 4 (2, 3)", "2 4 (0, 1)", "3 4 (2, 3)"]
    assert find(*options) == expected
    options = "--nodes=1", "--ntasks=2", "--gpus-per-task=2"
    assert find(*options) == ["0 2 (0, 1)", "1 2 (0, 1)"]
    assert find("--ntasks=1", "--gpus=4") == ["0 1 None"]


def test_an_element_of_an_array_requeues_only_itself(slurm, tmp_path):
    code = "from cnn_arch.training import stopping; stopping.requeue()"
    script = f"""#!/bin/sh
    [ -z "$SLURM_RESTART_COUNT" ] || exit 0
    sleep $((1 - SLURM_ARRAY_TASK_ID))  # the second asks; its job id is the array's
    [ $SLURM_ARRAY_TASK_ID = 0 ] || {sys.executable} -c '{code}'
    sleep 3
    """
    (tmp_path / "array.sh").write_text(script)
    words = "--array=0-1", "--output=/dev/null", tmp_path / "array.sh"
    array = slurm.run("sbatch", "--parsable", "--requeue", *words, cwd=ROOT)
    elements = f"{array}_0", f"{array}_1"
    for each in elements:
        wait_until(lambda each=each: slurm.state(each) == "COMPLETED", each)
    assert [slurm.field(each, "Restarts") for each in elements] == ["0", "1"]


def test_a_requeued_and_preempted_run_has_the_same_result(
    slurm, uninterrupted, tmp_path
):
    job = Job(slurm, tmp_path / "run")
    launch.wait_for_steps(job.workdir, 50)
    slurm.run("scontrol", "requeue", job.number)
    wait_until(lambda: "resume   epoch" in job.text(), "the run to continue")
    launch.wait_for_steps(job.workdir, STEPS_PER_EPOCH + 50)
    words = "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null"
    urgent = slurm.run("sbatch", "--parsable", *words, "--wrap=sleep 1")
    wait_until(lambda: slurm.state(urgent) == "COMPLETED", "the urgent job")
    job.assert_says("saved. Slurm will start it again")
    job.wait_until_ended("COMPLETED")
    assert slurm.field(job.number, "Restarts") == "2"
    assert_same_run(uninterrupted, job.workdir)
    results = json.loads((job.workdir / "eval" / "results.json").read_text())
    assert results["test"]["num_examples"] == 1000


def test_a_warning_of_the_time_limit_and_a_cancelled_job(slurm, tmp_path):
    """USR1, as with ``--signal``, starts the job again; scancel does not."""
    job = Job(slurm, tmp_path / "run")
    launch.wait_for_steps(job.workdir, 5)
    slurm.run("scancel", "--signal=USR1", job.number)
    wait_until(lambda: "resume   epoch" in job.text(), "the run to continue")
    job.assert_says("saved. Slurm will start it again")
    slurm.run("scancel", job.number)
    job.wait_until_ended("CANCELLED")
    time.sleep(2)
    assert job.state() == "CANCELLED"


def test_a_rank_that_crashes_ends_the_job(slurm, tmp_path):
    job = Job(slurm, tmp_path / "run")
    launch.wait_for_steps(job.workdir, 20)
    (task,) = job.tasks(NODES[1])
    task.kill()
    job.wait_until_ended("FAILED")
    job.assert_says("error: process 0: another process of the run has ended")


def test_a_job_continues_after_a_lost_node(slurm, uninterrupted, tmp_path):
    job = Job(slurm, tmp_path / "run")
    launch.wait_for_steps(job.workdir, 50)
    slurm.kill_node(NODES[1])
    try:
        wait_until(lambda: job.state() in (*ENDED, "PENDING"), "the job's end")
        job.assert_says("error: process 0: another process of the run has ended")
    finally:
        slurm.start_node(NODES[1])
    if job.state() in ENDED:  # else Slurm noticed the loss, and starts it again
        job.submit()
    job.wait_until_ended("COMPLETED")
    assert_same_run(uninterrupted, job.workdir)
