"""The launcher's loop: start waiting trials, follow running ones, stop on request."""

import contextlib
import time
from collections.abc import Callable
from typing import Protocol

from cnn_arch.errors import UsageError
from cnn_arch.sweeps import progress
from cnn_arch.sweeps.manifest import Sweep, Trial, load
from cnn_arch.sweeps.slurm import RESOURCES
from cnn_arch.training.stopping import stop_request

# The options that each use of the command takes.
PLACE = ("workdir", "executor", "max_parallel", *RESOURCES)
USES = {
    "status": ("workdir",),
    "resume": (*PLACE, "num_trials"),
    "sweep": (*PLACE, "search", "num_trials"),
}


class Executor(Protocol):
    """Where trials run."""

    max_parallel: int  # trials at a time
    interval_seconds: float  # between two checks of the trials

    def active(self) -> dict[str, str]:
        """Returns the names of the running and queued trials, with their states."""
        ...

    def start(self, trials: list[Trial]) -> None:
        """Starts trials; a trial that ran before continues."""
        ...

    def stop(self, trial: Trial) -> None:
        """Asks a trial to save and exit."""
        ...


def refresh(sweep: Sweep, executor: Executor) -> set[str]:
    """Updates the states of all trials; returns the names of the active ones."""
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
    """Shows a sweep that another launcher runs, until no trial is active or Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        while look(sweep, executor):
            show(sweep)
            time.sleep(executor.interval_seconds)


def look(sweep: Sweep, executor: Executor) -> set[str]:
    """Reads the record again and updates it; returns the names of the active trials.

    It writes the record only if no launcher is running.
    """
    try:
        with sweep.held():
            active = refresh(sweep, executor)
            sweep.save()
    except UsageError:  # a launcher is running
        sweep.trials = load(sweep.workdir).trials
        active = refresh(sweep, executor)
    return active


def unfinished(sweep: Sweep) -> list[Trial]:
    """Returns the trials to start, or to start again."""
    states = ["waiting", "stopped"]
    if not sweep.space:  # to a search, a failure is a result
        states.append("failed")
    return [trial for trial in sweep.trials if trial.state in states]


def prepare(sweep: Sweep, executor: Executor) -> list[Trial]:
    """Returns the unfinished trials, all waiting and without old crash files."""
    refresh(sweep, executor)
    queue = unfinished(sweep)
    for trial in queue:
        for path in progress.crash_files(sweep, trial):
            path.unlink()  # otherwise it would count as a new failure
        trial.state = "waiting"
    return queue


def submit(sweep: Sweep, executor: Executor) -> None:
    """Hands all unfinished trials to a scheduler and does not wait for them."""
    executor.start(prepare(sweep, executor))
    sweep.save()


def carry_out(sweep: Sweep, executor: Executor, show: Callable[[Sweep], None]) -> int:
    """Runs all unfinished trials, and those that a search adds.

    Calls ``show`` whenever something may have changed.

    Returns:
      The number of the signal that asked to stop, or 0.
    """
    search = None
    if sweep.space:
        from cnn_arch.sweeps.search import Search

        search = Search(sweep)
    queue = prepare(sweep, executor)
    asked: set[str] = set()  # names of the trials that were asked to stop
    # The trials go on without the launcher, so a closed terminal need not stop them.
    with stop_request(hangup=False) as stop:
        while True:
            active = refresh(sweep, executor)
            for trial in sweep.trials:
                if search and search.follow(trial):
                    trial.state = "pruned"
            while not stop.number and len(active) < executor.max_parallel:
                trial = queue.pop(0) if queue else search and search.next_trial()
                if not trial:
                    break
                sweep.save()  # before the trial runs, so that no launcher can miss it
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
