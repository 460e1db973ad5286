"""The record of a sweep: its settings, its trials, and the state of each trial."""

import dataclasses
import json
import re
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cnn_arch import folders
from cnn_arch.errors import UsageError
from cnn_arch.files import read_json, write_text
from cnn_arch.installation import ROOT
from cnn_arch.lock import Lock
from cnn_arch.setting_words import UNREADABLE
from cnn_arch.sweeps import space

NAME = "manifest.json"
LOCK = "launcher.lock"

# The states of a trial; "done", "diverged" and "pruned" are final.
STATES = "waiting queued running done diverged pruned stopped failed".split()
ACTIVE = ("queued", "running")


@dataclasses.dataclass
class Trial:
    """One run of a sweep."""

    name: str  # of its folder in the sweep's folder
    overrides: dict[str, Any]  # the settings that the sweep varies
    state: str = "waiting"  # one of STATES, at the last check
    job: str = ""  # process id on this machine, or Slurm's job id
    slot: int = 0  # on this machine: which of the parallel trials it is
    submission: str = ""  # on Slurm: NAME/INDEX, the job array and the index in it
    study_number: int | None = None  # number of Optuna's trial


@dataclasses.dataclass
class Sweep:
    """Many runs of one recipe."""

    workdir: Path  # the sweep's folder, absolute
    words: list[str]  # --config=FILE and the settings that all trials share
    folder: str  # where sweep.py was started; trials run there
    space: dict[str, Any]  # what a search draws from; empty without a search
    num_trials: int  # in total; a search adds them one by one
    executor: str  # local, slurm, or "" before one is chosen
    resources: dict[str, Any]  # of a trial on Slurm, as on the command line
    max_parallel: int | None  # trials at a time; None: the executor's default
    name: str  # unique; Slurm's jobs are NAME.0, NAME.1 and so on
    trials: list[Trial]  # the trials so far
    # The command of a trial, with its first words.
    program: list[str] = dataclasses.field(default_factory=lambda: ["train.py"])

    def add(self, overrides: dict[str, Any], study_number: int | None = None) -> Trial:
        """Adds a trial and returns it."""
        name = f"trial-{len(self.trials):02}"
        self.trials.append(Trial(name, overrides, study_number=study_number))
        return self.trials[-1]

    def move_to(self, executor: str) -> None:
        """Sets where trials run.

        Raises:
          UsageError: a trial still runs on another executor.
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
        """Returns the file with the output of a trial's newest start or Slurm job."""
        if trial.submission:
            return self.workdir / "slurm" / f"{trial.job}_0_log.err"
        return self.workdir / "logs" / f"{trial.name}.txt"

    def command(self, trial: Trial) -> list[str]:
        """Returns the command that starts a trial, or continues it."""
        words = [*self.words, *space.words_of(trial.overrides)]
        workdir = f"--workdir={self.path(trial)}"
        name, *first = self.program
        return [sys.executable, str(ROOT / name), *first, *words, workdir]

    def save(self) -> None:
        """Writes the record if it has changed."""
        record = dataclasses.asdict(self) | {"workdir": str(self.workdir)}
        text, path = json.dumps(record, indent=2) + "\n", self.workdir / NAME
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Locks out other launchers, and reads what the last one wrote.

        The lock ends with its process, even if that is killed.

        Raises:
          UsageError: another launcher has the lock.
        """
        self.workdir.mkdir(parents=True, exist_ok=True)
        with Lock(self.workdir / LOCK, fix="look at it with --status") as lock:
            lock.take()
            if (self.workdir / NAME).exists():
                self.trials = load(self.workdir).trials
            yield


def open_or_make(
    workdir: Path,
    words: list[str],
    trials: list[dict[str, Any]],
    space: dict[str, Any],
    num_trials: int,
) -> Sweep:
    """Returns a new sweep, or the one in the folder if it is the same.

    Raises:
      UsageError: the folder contains another sweep, or other files.
    """
    if (workdir / NAME).exists():
        stored = load(workdir)
        listed = [trial.overrides for trial in stored.trials]
        same = stored.words == words and stored.space == space
        if not same or (not space and listed != trials):
            raise UsageError(
                f"--workdir={workdir}: contains another sweep "
                f"({' '.join(stored.words)}); choose another --workdir, or continue "
                "that sweep with --resume"
            )
        stored.num_trials = num_trials
        return stored
    # A launcher that is killed before it writes the record may leave the lock.
    if others := [name for name in folders.foreign_names(workdir) if name != LOCK]:
        raise UsageError(
            f"--workdir={workdir}: contains other files ({others[0]}); choose a new "
            "folder"
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
        name=_unique_name(workdir.resolve(), words),
        trials=[],
    )
    for overrides in trials:
        made.add(overrides)
    return made


def _unique_name(workdir: Path, words: list[str]) -> str:
    """Returns the folder, the recipe and a random number: ``rates-lenet5-4a2be62f``.

    It consists of the characters that Slurm allows. Other sweeps may have folders of
    the same name elsewhere, so the number makes it unique.
    """
    recipe = re.search(r"--config[= ]([^:\s]+)", " ".join(words))
    parts = [workdir.name, Path(recipe[1]).stem if recipe else ""]
    if parts[1] in parts[0]:  # sweep-lenet5-mnist5k-1
        del parts[1]
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts)).lstrip("._-")
    return f"{text[:50] or 'sweep'}-{uuid.uuid4().hex[:8]}"


def load(workdir: Path) -> Sweep:
    """Reads the record of a sweep.

    Raises:
      UsageError: there is no record, or it is damaged.
    """
    path = workdir / NAME
    if not path.exists():
        raise UsageError(f"--workdir={workdir}: no sweep there; ls runs/ lists them")
    try:
        record = read_json(path)
        record["trials"] = [Trial(**trial) for trial in record["trials"]]
        sweep = Sweep(**record)
        names = [trial.name for trial in sweep.trials]
        if names != [f"trial-{number:02}" for number in range(len(names))]:
            raise ValueError("trials are not in order")
        if wrong := _wrong_field(sweep):
            raise ValueError(f"{wrong} is not of its type")
    except UNREADABLE as error:
        raise UsageError(f"{path}: not a record of a sweep ({error})") from None
    sweep.workdir = workdir.resolve()
    return sweep


def _wrong_field(sweep: Sweep) -> str | None:
    """Returns the name of a field that someone gave a value of another type."""
    limit, trials = sweep.max_parallel, sweep.trials
    suits = {
        "words": all(isinstance(word, str) for word in sweep.words),
        "program": all(isinstance(word, str) for word in sweep.program),
        "folder": isinstance(sweep.folder, str),
        "name": isinstance(sweep.name, str),
        "executor": sweep.executor in ("", "local", "slurm"),
        "space": isinstance(sweep.space, dict),
        "resources": isinstance(sweep.resources, dict),
        "num_trials": type(sweep.num_trials) is int,
        "max_parallel": limit is None or type(limit) is int,
        "overrides": all(isinstance(trial.overrides, dict) for trial in trials),
        "state": all(trial.state in STATES for trial in trials),
        "job": all(isinstance(trial.job, str) for trial in trials),
        "slot": all(type(trial.slot) is int for trial in trials),
        "submission": all(isinstance(trial.submission, str) for trial in trials),
    }
    return next((name for name, is_right in suits.items() if not is_right), None)
