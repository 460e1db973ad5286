"""Stopping between two steps, when Ctrl-C or the scheduler asks for it."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cnn_arch.run_directory import Run, resume_command

# What a scheduler sends before it ends a job: SIGTERM at preemption, either of the
# others as a warning of the time limit, as ``sbatch --signal=USR1@120`` asks for.
SCHEDULER_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)


class StoppedError(Exception):
    """A run was asked to stop, and has saved its state.

    Attributes:
      epoch: passes over the training split so far.
      by_scheduler: whether it was not Ctrl-C.
      exit_status: 130 after Ctrl-C; 0 where the scheduler asked, because it starts
        again only a job that ended well.
    """

    def __init__(self, number: int, epoch: float):
        """Takes the signal's number and where the run is."""
        super().__init__(signal.Signals(number).name)
        self.epoch = epoch
        self.by_scheduler = number in SCHEDULER_SIGNALS
        self.exit_status = 0 if self.by_scheduler else 128 + number


class StopRequest:
    """Whether a signal has arrived: its number, or 0."""

    number: int = 0


_early = StopRequest()  # of a signal before there is a step to stop after


def prepare(workdir: str | None, warn: Callable[[str], None]) -> None:
    """Lets Slurm's signals wait for the first step, and warns where one is due.

    Slurm starts a preempted job again only if it is still there when its time of grace
    ends, or if it asks for that: it must not die of a signal while it compiles.

    Args:
      workdir: that the user has given.
      warn: called with one line.
    """
    if "SLURM_JOB_ID" not in os.environ:
        return
    for each in SCHEDULER_SIGNALS:
        signal.signal(each, lambda number, _: setattr(_early, "number", number))
    num_tasks = os.environ.get("SLURM_NTASKS", "1")
    if not workdir:
        warn("no --workdir: if Slurm starts the job again, it will not continue")
    elif "SLURM_STEP_NODELIST" not in os.environ and num_tasks != "1":
        warn(f"this process works alone; srun starts all {num_tasks} tasks")


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Turns signals into a request; a second SIGINT ends at once."""
    request = StopRequest()
    request.number = _early.number

    def note(number, _):
        request.number = number
        signal.signal(signal.SIGINT, previous[signal.SIGINT])

    previous = {
        each: signal.signal(each, note) for each in (signal.SIGINT, *SCHEDULER_SIGNALS)
    }
    try:
        yield request
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


def leave(stopped: StoppedError, run: Run, *, requeues: bool) -> int:
    """Says where a run stopped and how it continues; returns the exit status.

    Args:
      stopped: what stopped it.
      run: the run.
      requeues: this process asks Slurm to start the job again, if Slurm stopped it.
    """
    if requeues and stopped.by_scheduler and requeue():
        then = "Slurm will start it again"
    else:
        then = f"Continue: {resume_command(run.workdir)}"
    where = f"stopped at epoch {stopped.epoch:.4g}, saved."
    run.screen.row(f"{where} {then}", last=True)
    return stopped.exit_status


def requeue() -> bool:
    """Asks Slurm to start this job again; returns whether it will.

    Slurm counts a preempted job that ends within its time of grace as completed, and
    the same holds before the time limit. A job that was cancelled stays so.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if not job:
        return False
    if "SLURM_ARRAY_JOB_ID" in os.environ:  # of one element, the number is all others'
        job = "{SLURM_ARRAY_JOB_ID}_{SLURM_ARRAY_TASK_ID}".format_map(os.environ)
    try:
        shown = _scontrol("--oneliner", "show", "job", job).split()
        if "JobState=RUNNING" not in shown or "Requeue=1" not in shown:
            return False
        _scontrol("requeue", job)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _scontrol(*words: str) -> str:
    result = subprocess.run(
        ["scontrol", *words], check=True, capture_output=True, text=True, timeout=60
    )
    return result.stdout
