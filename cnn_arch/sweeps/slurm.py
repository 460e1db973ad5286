"""Trials as a job array on Slurm, submitted by submitit.

submitit writes the script, checks its parameters, submits the array and returns the job
ids. Its other features are not used: its signal handler ends rank 0 only, and its
results are pickles. Each task calls ``os.execv`` and so becomes train.py. train.py then
gets Slurm's signals, and its exit status is the task's. The only pickle contains this
call; this module writes it, the job reads it once, and nothing is unpickled here. The
run directories have the results, and with squeue's answer they give the states.
"""

import os
import re
import shutil
import subprocess
import sys
import warnings
from typing import Any

from cnn_arch import installation
from cnn_arch.errors import RunError, UsageError
from cnn_arch.sweeps.manifest import Sweep, Trial

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PATH = re.compile(r"[\w./+@=,-]+", re.ASCII)
JOB = re.compile(r"\d+(_\d+)?")
TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d\d))?(?::(\d\d))?")
RESOURCES = "gpus_per_node", "nodes", "cpus_per_task", "partition", "time"
WARNING_SECONDS = 90  # before its time limit, Slurm asks a trial to save and exit
WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SUSPENDED")


class Slurm:
    """Runs up to ``max_parallel`` trials at a time on a Slurm cluster.

    It finds a trial by the name of its job. The name is saved before the job is
    submitted: a launcher that is killed in between loses no job.
    """

    interval_seconds = 10.0  # between two calls of squeue

    def __init__(self, sweep: Sweep):
        """Checks everything that is passed to Slurm.

        Raises:
          UsageError: Slurm is not installed here, or a path, name or number is invalid.
        """
        for program in ("sbatch", "squeue", "scancel"):
            if not shutil.which(program):
                raise UsageError(
                    f"--executor=slurm: {program} is not found; log in to the cluster, "
                    "or use --executor=local"
                )
        for path in (str(sweep.workdir), sweep.folder):
            if not PATH.fullmatch(path):
                raise UsageError(
                    f"{path!r}: a path given to Slurm must consist of letters, digits "
                    "and ._/+@=,-; choose another"
                )
        if not NAME.fullmatch(sweep.name):
            raise UsageError(
                f"{sweep.name!r}: a name given to Slurm must consist of letters, "
                "digits and ._-; someone has changed the sweep's record"
            )
        self.max_parallel = sweep.max_parallel
        if self.max_parallel is None:
            # A search learns most from one trial at a time.
            self.max_parallel = 1 if sweep.space else len(sweep.trials)
        if self.max_parallel < 1:
            raise UsageError(f"--max_parallel={self.max_parallel}: must be at least 1")
        self._sweep = sweep
        self._parameters = parameters(sweep.resources)
        self._states: dict[str, str] | None = None

    def active(self) -> dict[str, str]:
        """Returns the names of the running and queued trials, with their states.

        If Slurm does not answer, the states of its last answer are returned.

        Raises:
          RunError: Slurm has never answered.
        """
        # One line for each element of an array: index, id, state, name.
        words = ["squeue", "--me", "--noheader", "--array", "--format=%K|%F|%T|%j"]
        answer = subprocess.run(words, capture_output=True, text=True)
        if answer.returncode:
            if self._states is None:
                raise RunError(
                    f"squeue: {_last_line(answer.stderr)}; try again later, or give "
                    "--executor=local"
                )
            return self._states
        jobs = {}
        for line in answer.stdout.splitlines():
            index, number, state, name = (*line.split("|", 3), "", "", "")[:4]
            is_element = index.isdigit()
            job = f"{number}_{index}" if is_element else number
            jobs[f"{name}/{index if is_element else 0}"] = job, state
        states = {}
        for trial in self._sweep.trials:
            if trial.submission in jobs:
                trial.job, state = jobs[trial.submission]
                states[trial.name] = "queued" if state in WAITING else "running"
        self._states = states
        return states

    def start(self, trials: list[Trial]) -> None:
        """Submits trials as one job array; a trial that ran before continues.

        Raises:
          RunError: Slurm refuses the array.
        """
        if not trials:
            return
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError

        sweep = self._sweep
        before = [trial.submission for trial in sweep.trials if trial.submission]
        # Each submission of the sweep has a new name: NAME.0, NAME.1 and so on.
        numbers = [int(text.partition("/")[0].split(".")[-1]) for text in before]
        name = f"{sweep.name}.{max(numbers, default=-1) + 1}"
        for index, trial in enumerate(trials):
            trial.submission, trial.job, trial.state = f"{name}/{index}", "", "queued"
        sweep.save()
        executor = SlurmExecutor(sweep.workdir / "slurm")
        executor.update_parameters(
            job_name=name,
            array_parallelism=self.max_parallel,
            **self._parameters,
            additional_parameters={
                "chdir": sweep.folder,
                # Goes to all tasks of the job: train.py saves and exits.
                "signal": f"TERM@{WARNING_SECONDS}",
                "requeue": True,  # after a preemption, the same run continues
            },
        )
        try:
            with warnings.catch_warnings(), executor.batch():
                warnings.simplefilter("ignore")
                jobs = [
                    executor.submit(os.execv, sys.executable, sweep.command(trial))
                    for trial in trials
                ]
        except FailedJobError as error:
            for trial in trials:
                trial.submission, trial.state = "", "waiting"
            sweep.save()
            raise self._refused(str(error)) from None
        for trial, job in zip(trials, jobs, strict=True):
            trial.job = job.job_id
        sweep.save()

    def _refused(self, answer: str) -> RunError:
        words = f"--workdir={self._sweep.workdir}", "--resume"
        return RunError(
            f"sbatch: {_last_line(answer)}; no trial was submitted; correct the option,"
            f" and give it with {installation.command('sweep', *words)}"
        )

    def stop(self, trial: Trial) -> None:
        """Cancels a trial's job; Slurm gives it time to save."""
        if JOB.fullmatch(trial.job):
            subprocess.run(["scancel", trial.job], capture_output=True)


def parameters(resources: dict[str, Any]) -> dict[str, Any]:
    """Returns submitit's parameters for the resources of a trial, a part of RESOURCES.

    Raises:
      UsageError: a resource is invalid.
    """
    for key in ("gpus_per_node", "nodes", "cpus_per_task"):
        if resources.get(key, 1) < 1:
            raise UsageError(f"--{key}={resources[key]}: must be at least 1")
    made = {key: value for key, value in resources.items() if key != "time"}
    if not NAME.fullmatch(resources.get("partition", "any")):
        raise UsageError(
            f"--partition={resources['partition']}: must be letters, digits and ._-"
        )
    # None: the partition's limit; submitit's default would be five minutes.
    made["time"] = minutes(resources["time"]) if "time" in resources else None
    # One process per GPU, as JAX expects on Slurm.
    made["ntasks_per_node"] = resources.get("gpus_per_node", 1)
    made["srun_args"] = ["--kill-on-bad-exit=1"]
    if "cpus_per_task" in resources:  # since Slurm 22.05, srun ignores sbatch's value
        made["srun_args"].append(f"--cpus-per-task={resources['cpus_per_task']}")
    return made


def minutes(text: str) -> int:
    """Reads a time in Slurm's notation: 90, 1:30:00, 2-12 or 2-12:30:00.

    Raises:
      UsageError: the text is not a time, or the time is zero.
    """
    match = TIME.fullmatch(text)
    if not match:
        raise UsageError(f"--time={text}: must be MINUTES, HH:MM:SS or DAYS-HH:MM:SS")
    days, first, second, third = (int(part or 0) for part in match.groups())
    if match[1] is not None:  # DAYS-HH, DAYS-HH:MM, DAYS-HH:MM:SS
        seconds = 86400 * days + 3600 * first + 60 * second + third
    elif match[4] is not None:  # HH:MM:SS
        seconds = 3600 * first + 60 * second + third
    else:  # MM, MM:SS
        seconds = 60 * first + second
    if not seconds:
        raise UsageError(f"--time={text}: must be above 0")
    return -(-seconds // 60)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines() or ["no answer"]
    return re.sub("^(sbatch|squeue): (error: |fatal: )?", "", lines[-1])
