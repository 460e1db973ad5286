"""The record of a sweep: what is run, its trials, and what became of each."""

import dataclasses
import json
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from cnn_arch.errors import UsageError
from cnn_arch.files import draft_of, write_text
from cnn_arch.installation import ROOT
from cnn_arch.sweeps import space

NAME = "manifest.json"
LOCK = "launcher.lock"

# What a trial can be; "done" and "pruned" are for good.
STATES = ("waiting", "queued", "running", "done", "pruned", "stopped", "failed")
ACTIVE = ("queued", "running")


@dataclasses.dataclass
class Trial:
    """One run of a sweep.

    Attributes:
      name: of its folder in the sweep's.
      overrides: settings that are its own.
      state: one of ``STATES``, as last seen.
      job: process id on this machine, or Slurm's job id.
      slot: which of the parallel places on this machine it takes.
      submission: the name of its Slurm job and its index there, as NAME/INDEX.
      study_number: of Optuna's trial, or None.
    """

    name: str
    overrides: dict[str, Any]
    state: str = "waiting"
    job: str = ""
    slot: int = 0
    submission: str = ""
    study_number: int | None = None


@dataclasses.dataclass
class Sweep:
    """Many runs of one recipe.

    Attributes:
      workdir: the sweep's folder, absolute.
      words: ``--config=FILE`` and the settings that all trials share.
      folder: where the command was given; trials run there.
      space: what the search draws from; empty where the trials are listed.
      num_trials: in all.
      executor: where it runs: local or slurm.
      resources: of a trial on Slurm, as given on the command line.
      max_parallel: trials at a time; None: what the executor takes for good.
      name: unlike any other sweep's; Slurm's jobs carry it.
      trials: so far.
    """

    workdir: Path
    words: list[str]
    folder: str
    space: dict[str, Any]
    num_trials: int
    executor: str
    resources: dict[str, Any]
    max_parallel: int | None
    name: str
    trials: list[Trial]

    def add(self, overrides: dict[str, Any], study_number: int | None = None) -> Trial:
        """Adds a trial and returns it."""
        name = f"trial-{len(self.trials):02}"
        self.trials.append(Trial(name, overrides, study_number=study_number))
        return self.trials[-1]

    def move_to(self, executor: str) -> None:
        """Sets where trials run.

        Raises:
          UsageError: one still runs elsewhere.
        """
        active = [trial for trial in self.trials if trial.state in ACTIVE]
        if self.executor not in ("", executor) and active:
            raise UsageError(
                f"--executor={executor}: {active[0].name} is {active[0].state} on "
                f"{self.executor}; wait until --status shows that it has ended"
            )
        self.executor = executor

    def path(self, trial: Trial) -> Path:
        """Returns a trial's run directory."""
        return self.workdir / trial.name

    def log(self, trial: Trial) -> Path:
        """Returns the file of what a trial says: of its newest start, or of its job."""
        if trial.submission:
            return self.workdir / "slurm" / f"{trial.job}_0_log.err"
        return self.workdir / "logs" / f"{trial.name}.txt"

    def command(self, trial: Trial) -> list[str]:
        """Returns the command of a trial, the same whenever it is started."""
        words = [*self.words, *space.words_of(trial.overrides)]
        workdir = f"--workdir={self.path(trial)}"
        return [sys.executable, str(ROOT / "train.py"), *words, workdir]

    def save(self) -> None:
        """Writes the record, whole or not at all, if it has changed."""
        record = dataclasses.asdict(self) | {"workdir": str(self.workdir)}
        text, path = json.dumps(record, indent=2) + "\n", self.workdir / NAME
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other launchers off, and reads what the last one has written.

        A launcher that is killed lets go.

        Raises:
          UsageError: another one is at work.
        """
        self.workdir.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.workdir / LOCK, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise UsageError(
                f"--workdir={self.workdir}: another sweep.py is at work there; "
                "--status shows it"
            ) from None
        try:
            if (self.workdir / NAME).exists():
                self.trials = load(self.workdir).trials
            yield
        finally:
            lock.release()


def open_or_make(
    workdir: Path,
    words: list[str],
    trials: list[dict[str, Any]],
    space: dict[str, Any],
    num_trials: int,
) -> Sweep:
    """Returns a sweep of which nothing has run, or the same one if the folder holds it.

    Raises:
      UsageError: the folder holds another sweep, or something else.
    """
    if (workdir / NAME).exists():
        stored = load(workdir)
        listed = [trial.overrides for trial in stored.trials]
        same = stored.words == words and stored.space == space
        if not same or (not space and listed != trials):
            raise UsageError(
                f"--workdir={workdir}: holds another sweep ({' '.join(stored.words)}); "
                "choose another --workdir, or continue that one with --resume"
            )
        stored.num_trials = num_trials
        return stored
    ours = {
        draft_of(workdir / NAME).name,
        LOCK,
    }  # of a launcher that was killed at once
    if workdir.is_file() or (
        workdir.is_dir() and {path.name for path in workdir.iterdir()} - ours
    ):
        raise UsageError(
            f"--workdir={workdir}: holds files that are not of a sweep; choose another"
        )
    made = Sweep(
        workdir=workdir.resolve(),
        words=words,
        folder=str(Path.cwd()),
        space=space,
        num_trials=num_trials,
        executor="",
        resources={},
        max_parallel=None,
        name=f"sweep-{uuid.uuid4().hex[:8]}",
        trials=[],
    )
    for overrides in trials:
        made.add(overrides)
    return made


def load(workdir: Path) -> Sweep:
    """Reads the record of a sweep.

    Raises:
      UsageError: there is none, or it is not one.
    """
    path = workdir / NAME
    if not path.exists():
        raise UsageError(f"--workdir={workdir}: no sweep there; ls runs/ lists them")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        record["trials"] = [Trial(**trial) for trial in record["trials"]]
        sweep = Sweep(**record)
        names = [trial.name for trial in sweep.trials]
        if names != [f"trial-{number:02}" for number in range(len(names))]:
            raise ValueError("trials are not in order")
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not the record of a sweep ({error})") from None
    sweep.workdir = workdir.resolve()
    return sweep
