"""A search: Optuna chooses each trial, and stops trials that do worse than others."""

import math
from pathlib import Path
from typing import Any

import optuna
from optuna import distributions
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from cnn_arch.errors import RunError
from cnn_arch.setting_rules import RULES
from cnn_arch.sweeps import progress
from cnn_arch.sweeps.manifest import Sweep, Trial

NUM_UNPRUNED = 3  # no trial is stopped before this number of trials has finished
PATIENT_SHARE = 0.2  # no trial is stopped in this first part of its epochs
FAILURES = "failed", "diverged"
NUM_FAILURES = 3  # the search gives up after so many failures without a success


class Search:
    """A search by the tree-structured Parzen estimator (TPE).

    Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization". Each draw
    depends only on the trials so far: after a stop, the search continues with the same
    draws. After three finished trials, the search stops a trial if its lowest error so
    far is above the others' median at that epoch.
    """

    def __init__(self, sweep: Sweep):
        """Opens Optuna's journal in the sweep's folder, or creates it."""
        self._sweep = sweep
        journal = sweep.workdir / "optuna_journal.log"
        _mend(journal)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            study_name=sweep.name,
            storage=JournalStorage(JournalFileBackend(str(journal))),
            load_if_exists=True,
        )
        self._told: set[int] = set()  # numbers of ended trials that Optuna knows
        known = {trial.study_number for trial in sweep.trials}
        for asked in self._study.get_trials(states=(TrialState.RUNNING,)):
            if asked.number not in known:  # a launcher was killed before it saved this
                self._study.tell(asked.number, state=TrialState.FAIL)
        self._distributions: dict[str, distributions.BaseDistribution] = {
            key: _distribution(key, values) for key, values in sweep.space.items()
        }

    def next_trial(self) -> Trial | None:
        """Adds a trial to the sweep and returns it; None if there are enough.

        Raises:
          RunError: the first trials have all failed.
        """
        states = [trial.state for trial in self._sweep.trials]
        num_failures = sum(state in FAILURES for state in states)
        if num_failures >= NUM_FAILURES and "done" not in states:
            raise RunError(
                f"--search=tpe: the first {len(states)} trials failed; see "
                f"{self._sweep.log(self._sweep.trials[0])}"
            )
        if len(states) >= self._sweep.num_trials:
            return None
        # A new seed for each trial: the draw does not depend on earlier launchers.
        self._study.sampler = optuna.samplers.TPESampler(seed=len(states))
        drawn = self._study.ask(self._distributions)
        return self._sweep.add(drawn.params, drawn.number)

    def follow(self, trial: Trial) -> bool:
        """Reports a trial's errors to Optuna; returns whether to stop the trial."""
        number = trial.study_number
        if number is None or number in self._told:
            return False
        # Reporting needs the object that study.ask returned. An earlier launcher may
        # have called it, so make that object again.
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
        elif trial.state == "pruned":
            self._study.tell(number, state=TrialState.PRUNED)
        elif trial.state in FAILURES:
            self._study.tell(number, state=TrialState.FAIL)
        elif errors:
            epochs = progress.num_epochs(workdir) or 0
            self._study.pruner = optuna.pruners.MedianPruner(
                n_startup_trials=NUM_UNPRUNED,
                n_warmup_steps=math.ceil(PATIENT_SHARE * epochs) + 1,
            )
            return max(errors) < epochs and bool(reporter.should_prune())
        return False


def _distribution(key: str, values: Any) -> distributions.BaseDistribution:
    """Returns Optuna's form of a setting's choices or range."""
    if not isinstance(values, dict):
        return distributions.CategoricalDistribution(values)
    if key in RULES and RULES[key].is_whole:
        return distributions.IntDistribution(**values)
    return distributions.FloatDistribution(**values)


def _mend(journal: Path) -> None:
    """Removes what a killed launcher left: Optuna's lock, and an incomplete line.

    No other launcher is running, but Optuna would wait half a minute for that lock.
    """
    journal.with_name(journal.name + ".lock").unlink(missing_ok=True)
    if journal.exists():
        with journal.open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
