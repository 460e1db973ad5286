"""Trials that Optuna chooses, one after the other, and stops when they lag behind."""

import math
from pathlib import Path

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from cnn_arch.errors import RunError
from cnn_arch.sweeps import progress
from cnn_arch.sweeps.manifest import Sweep, Trial

NUM_UNPRUNED = 3  # trials that are always trained to the end
PATIENT_SHARE = 0.2  # of the epochs, before which none is stopped
NUM_FAILURES = 3  # with no success yet, after which the search gives up


class Search:
    """A search by the tree-structured Parzen estimator (TPE).

    Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization". Every draw
    depends on nothing but the trials so far, so that a search that was stopped
    continues as if it had not been. Once three trials are through, one whose least
    error so far is above the others' median at that epoch is stopped.
    """

    def __init__(self, sweep: Sweep):
        """Opens the journal, or begins it."""
        self._sweep = sweep
        journal = sweep.workdir / "optuna_journal.log"
        _mend(journal)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            study_name=sweep.name,
            storage=JournalStorage(JournalFileBackend(str(journal))),
            load_if_exists=True,
        )
        self._told: set[int] = set()  # numbers of trials that are over
        known = {trial.study_number for trial in sweep.trials}
        for asked in self._study.get_trials(states=(TrialState.RUNNING,)):
            if asked.number not in known:  # the launcher was killed before it began
                self._study.tell(asked.number, state=TrialState.FAIL)
        self._distributions: dict[str, BaseDistribution] = {
            key: FloatDistribution(**values)
            if isinstance(values, dict)
            else CategoricalDistribution(values)
            for key, values in sweep.space.items()
        }

    def next_trial(self) -> Trial | None:
        """Adds a trial to the sweep and returns it; None if there are enough.

        Raises:
          RunError: the first trials all failed.
        """
        states = [trial.state for trial in self._sweep.trials]
        if states.count("failed") >= NUM_FAILURES and "done" not in states:
            raise RunError(
                f"--search=tpe: the first {len(states)} trials failed; see "
                f"{self._sweep.log(self._sweep.trials[0])}"
            )
        if len(states) >= self._sweep.num_trials:
            return None
        self._study.sampler = optuna.samplers.TPESampler(seed=len(states))
        drawn = self._study.ask(self._distributions)
        return self._sweep.add(drawn.params, drawn.number)

    def follow(self, trial: Trial) -> bool:
        """Tells Optuna how a trial does; says whether it should be stopped."""
        number = trial.study_number
        if number is None or number in self._told:
            return False
        # Optuna gives the means to report to whoever asked for the trial; it may have
        # been an earlier launcher, so they are made anew.
        stored = self._study.trials[number]
        if stored.state.is_finished():
            self._told.add(number)
            return False
        reporter = optuna.trial.Trial(self._study, stored._trial_id)
        workdir = self._sweep.path(trial)
        errors = progress.read_errors(workdir)
        for epoch, error in errors.items():
            if math.ceil(epoch) not in stored.intermediate_values:
                reporter.report(error, math.ceil(epoch))
        if trial.state == "done":
            self._study.tell(number, min(errors.values()))
        elif trial.state in ("pruned", "failed"):
            is_pruned = trial.state == "pruned"
            state = TrialState.PRUNED if is_pruned else TrialState.FAIL
            self._study.tell(number, state=state)
        elif errors:
            epochs = progress.num_epochs(workdir) or 0
            self._study.pruner = optuna.pruners.MedianPruner(
                n_startup_trials=NUM_UNPRUNED,
                n_warmup_steps=math.ceil(PATIENT_SHARE * epochs) + 1,
            )
            return max(errors) < epochs and bool(reporter.should_prune())
        return False


def _mend(journal: Path) -> None:
    """Removes what a killed launcher left: Optuna's lock, and a line cut short.

    No other launcher is at work, but Optuna would wait half a minute for that lock.
    """
    journal.with_name(journal.name + ".lock").unlink(missing_ok=True)
    if journal.exists():
        text = journal.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if whole != text:
            with journal.open("r+b") as file:
                file.truncate(len(whole))
