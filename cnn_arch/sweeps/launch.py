"""The loop of a launcher: start what waits, follow what runs, stop when asked to."""

import contextlib
import time
from collections.abc import Callable
from typing import Protocol

from cnn_arch.errors import UsageError
from cnn_arch.sweeps import progress
from cnn_arch.sweeps.manifest import Sweep, Trial, load
from cnn_arch.training.stopping import stop_request


class Executor(Protocol):
    """Where trials run."""

    max_parallel: int
    interval_seconds: float  # between two looks at the trials

    def active(self) -> dict[str, str]:
        """Returns the names of trials that run or are queued, each with its state."""
        ...

    def start(self, trials: list[Trial]) -> None:
        """Starts trials; those that ran before continue."""
        ...

    def stop(self, trial: Trial) -> None:
        """Asks a trial to save and to end."""
        ...


def refresh(sweep: Sweep, executor: Executor) -> set[str]:
    """Brings the states of all trials up to date; returns the names of the active."""
    active = executor.active()
    for trial in sweep.trials:
        if trial.state == "pruned":
            continue
        if trial.name in active:
            trial.state = active[trial.name]
        elif trial.state != "waiting":
            trial.state = progress.ended_state(sweep, trial)
    return set(active)


def watch(sweep: Sweep, executor: Executor, show: Callable[[Sweep], None]) -> None:
    """Shows a sweep that others carry out, until nothing runs or Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        while look(sweep, executor):
            show(sweep)
            time.sleep(executor.interval_seconds)


def look(sweep: Sweep, executor: Executor) -> set[str]:
    """Reads the record again and refreshes it; returns the names of the active.

    The record is written only where no launcher keeps it.
    """
    try:
        with sweep.held():
            active = refresh(sweep, executor)
            sweep.save()
    except UsageError:  # a launcher is at work
        sweep.trials = load(sweep.workdir).trials
        active = refresh(sweep, executor)
    return active


def unfinished(sweep: Sweep) -> list[Trial]:
    """Returns the trials to start, or to start again."""
    states = ["waiting", "stopped"]
    if not sweep.space:  # to a search a failure is an answer
        states.append("failed")
    return [trial for trial in sweep.trials if trial.state in states]


def prepare(sweep: Sweep, trials: list[Trial]) -> None:
    """Removes what earlier failures left, so that it does not pass for a new one."""
    for trial in trials:
        for path in progress.crash_files(sweep, trial):
            path.unlink()
        trial.state = "waiting"


def submit(sweep: Sweep, executor: Executor) -> None:
    """Hands all trials that are unfinished to a scheduler, and leaves them there."""
    refresh(sweep, executor)
    queue = unfinished(sweep)
    prepare(sweep, queue)
    executor.start(queue)
    sweep.save()


def carry_out(sweep: Sweep, executor: Executor, show: Callable[[Sweep], None]) -> int:
    """Runs all trials that are unfinished, and those that a search adds.

    Args:
      sweep: whose trials run; its record is kept up to date.
      executor: where they run.
      show: is called whenever something may have changed.

    Returns:
      The number of the signal that asked to stop, or 0.
    """
    search = None
    if sweep.space:
        from cnn_arch.sweeps.search import Search

        search = Search(sweep)
    refresh(sweep, executor)
    queue = unfinished(sweep)
    prepare(sweep, queue)
    asked: set[str] = set()  # to stop
    with stop_request() as stop:
        while True:
            active = refresh(sweep, executor)
            for trial in sweep.trials:
                if search and search.follow(trial):
                    trial.state = "pruned"
            while not stop.number and len(active) < executor.max_parallel:
                trial = queue.pop(0) if queue else search and search.next_trial()
                if not trial:
                    break
                sweep.save()  # before it runs, so that no launcher can miss it
                executor.start([trial])
                active.add(trial.name)
                sweep.save()
            sweep.save()
            show(sweep)
            if not active:
                return stop.number
            for trial in sweep.trials:
                if trial.name in active - asked and (
                    stop.number or trial.state == "pruned"
                ):
                    executor.stop(trial)
                    asked.add(trial.name)
            time.sleep(executor.interval_seconds)
