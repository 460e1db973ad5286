"""Stopping: after Ctrl-C or a scheduler's signal, or when the error falls no more."""

import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from ml_collections import ConfigDict

from cnn_arch.errors import RunError
from cnn_arch.files import write_text
from cnn_arch.parallel import processes
from cnn_arch.run_directory import Run, resume_command, validation_errors

# A scheduler's signals before it ends a job: SIGTERM at preemption; one of the others
# before the time limit, as with ``sbatch --signal=USR1@120``.
SCHEDULER_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
HANGUP = getattr(signal, "SIGHUP", None)  # the terminal was closed
MAX_REQUEUES = 3  # in a row, without progress
REQUEUES = "requeues.txt"  # their number
_STARTED = time.monotonic()


class StoppedError(Exception):
    """A run has stopped after a signal, and its state is saved."""

    def __init__(self, number: int, place: str, has_advanced: bool = True):
        super().__init__(signal.Signals(number).name)
        self.place = place  # where in the run, as "at epoch 7"
        self.has_advanced = has_advanced  # far enough to be worth another start
        self.by_scheduler = number in SCHEDULER_SIGNALS
        # Slurm starts a job again only if it ended with status 0.
        self.exit_status = 0 if self.by_scheduler else 128 + number


@dataclasses.dataclass
class StopRequest:
    """Whether a signal has asked to stop."""

    number: int = 0  # of the newest signal; 0: none
    began: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def is_late(self) -> bool:
        """Whether the run has trained for at least as long as it took to begin."""
        return time.monotonic() - self.began >= self.began - _STARTED


_early = StopRequest()  # of a signal before the first step


def prepare(workdir: str | None, warn: Callable[[str], None]) -> None:
    """Delays Slurm's signals until the first step, and warns of a wrong start.

    Slurm requeues a preempted job only if the job still runs at the end of its grace
    time, or asks for it: a signal must not end the job while it compiles.
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
def stop_request(*, hangup: bool = True) -> Iterator[StopRequest]:
    """Turns signals into a request to stop; a second SIGINT ends the run at once.

    With ``hangup``, a closed terminal is such a signal, unless the command was started
    with nohup.
    """
    request = StopRequest(_early.number)

    def note(number: int, previous: Mapping[int, Any]) -> None:
        request.number = number
        signal.signal(signal.SIGINT, previous[signal.SIGINT])

    with _handled_by(note, hangup=hangup):
        yield request


@contextmanager
def stopping_at_once(place: str, *, has_advanced: bool) -> Iterator[None]:
    """Lets a signal end work that needs no saving, as the test after the training does.

    Raises:
      StoppedError: there was a signal.
    """

    def stop(number: int, previous: Mapping[int, Any]) -> NoReturn:
        raise StoppedError(number, place, has_advanced)

    with _handled_by(stop, hangup=True):
        yield


@contextmanager
def _handled_by(
    handle: Callable[[int, Mapping[int, Any]], None], *, hangup: bool
) -> Iterator[None]:
    """Calls a function with each signal to stop, and with the handlers of before."""
    numbers = [signal.SIGINT, *SCHEDULER_SIGNALS]
    if hangup and HANGUP and signal.getsignal(HANGUP) != signal.SIG_IGN:
        numbers.append(HANGUP)

    def note(number, _):
        handle(number, previous)

    previous = {each: signal.signal(each, note) for each in numbers}
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


def leave(stopped: StoppedError, run: Run, *, requeues: bool) -> int:
    """Prints where a run stopped and how it continues; returns the exit status.

    If Slurm stopped the run, the process with ``requeues`` requeues the job.

    Raises:
      RunError: Slurm has started the job several times without progress.
    """
    then = f"Continue: {resume_command(run.workdir)}"
    if requeues and stopped.by_scheduler and os.environ.get("SLURM_JOB_ID"):
        count_requeue(run.workdir, stopped)
        if requeue():
            then = "Slurm will start it again"
    run.screen.row(f"stopped {stopped.place}, saved. {then}", last=True)
    return stopped.exit_status


def count_requeue(workdir: Path, stopped: StoppedError) -> None:
    """Counts the starts in a row that made no progress.

    Raises:
      RunError: there were too many; they are no longer counted.
    """
    path = workdir / REQUEUES
    text = path.read_text() if path.exists() else ""
    count = 0 if stopped.has_advanced else int(text if text.isdecimal() else 0) + 1
    if 0 < count <= MAX_REQUEUES:
        write_text(path, str(count))
        return
    path.unlink(missing_ok=True)
    if count:
        raise RunError(
            f"stopped {stopped.place}, saved, but not started again: in "
            f"{count} starts in a row, the signal came before the run had trained for "
            "as long as it took to begin; give the job more time, or send the signal "
            "later (--signal)"
        )


def requeue() -> bool:
    """Asks Slurm to start this job again; returns whether it will.

    Slurm counts a job that ends within its grace time, or before the time limit, as
    completed. It does not start a cancelled job again.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if not job:
        return False
    # The job id of one element is the id of the whole array.
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
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


def is_over(run: Run, config: ConfigDict, step: int, steps_per_epoch: int) -> bool:
    """Whether a run ends with a step: its last, or one after epochs without progress.

    ``config.early_stopping`` is the number of epochs without a lower validation error.
    The errors up to the step are in process 0's metrics.csv, so a continued run ends
    where a whole one does. All processes must call this.
    """
    from cnn_arch.training.schedules import num_steps  # takes a second: JAX

    if step >= num_steps(config, steps_per_epoch):
        return True
    if not config.early_stopping:
        return False
    known = validation_errors(run.workdir) or {}
    errors = [known[epoch_end] for epoch_end in sorted(known) if epoch_end <= step]
    num_since = len(errors) - 1 - errors.index(min(errors)) if errors else 0
    return processes.from_first(num_since >= config.early_stopping)
