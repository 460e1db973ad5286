"""The record of an experiment: what was measured of its runs, and on which machine.

It is stored as experiment.json in the experiment's folder. Each run is measured once,
when it has ended, and each group of runs, when all of them have. The verdict is not
stored: it follows from the numbers.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnn_arch import processor
from cnn_arch.errors import UsageError
from cnn_arch.experiments import epochs, measures
from cnn_arch.experiments.plan import Experiment
from cnn_arch.experiments.rules import Bound, Numbers, Value
from cnn_arch.files import read_json, write_text
from cnn_arch.installation import ROOT
from cnn_arch.run_directory import read_divergence
from cnn_arch.screen import Screen
from cnn_arch.setting_words import UNREADABLE
from cnn_arch.sweeps.manifest import Sweep, Trial

NAME = "experiment.json"
RUNS = Path("runs") / "experiments"
PUBLISHED = ROOT / "docs" / "lectures"  # NAME-SIZE.json, for docs/lectures.md
Record = dict[str, Any]


def new(experiment: Experiment, size: str, words: Sequence[str]) -> Record:
    """Returns a record without runs; ``words`` are those of the command."""
    return {
        "experiment": experiment.name,
        "size": size,
        "words": list(words),
        "note": "",  # on the data, from the user
        "machine": f"{processor.name()} ({processor.vector_unit()})",
        "variants": {},  # the settings of their runs, without seed and data
        "runs": {},
        "groups": {},  # of runs that are measured together
    }


def load(folder: Path) -> Record | None:
    """Returns the record of an experiment's folder; None if there is none.

    Raises:
      UsageError: it is damaged.
    """
    path = folder / NAME
    return read(path) if path.exists() else None


def find(name: str, size: str, runs: Path) -> tuple[Record, str] | None:
    """Returns the record of a size, and where it was made; None if there is none.

    One of ``runs`` is before a published one.
    """
    if found := load(runs / f"{name}-{size}"):
        return found, "here"
    path = PUBLISHED / f"{name}-{size}.json"
    return (read(path), "docs/lectures.md") if path.exists() else None


def newest(name: str, runs: Path) -> tuple[Record, str] | None:
    """Returns the record that counts: a full one is before one of minutes."""
    return find(name, "full", runs) or find(name, "minutes", runs)


def read(path: Path) -> Record:
    """Reads a record.

    Raises:
      UsageError: it is damaged.
    """
    try:
        record = read_json(path)
        numbers(record)
    except UNREADABLE as error:
        raise UsageError(
            f"{path}: not a record of an experiment ({error}); delete it to measure "
            "the runs again"
        ) from None
    return record


def update(
    record: Record,
    experiment: Experiment,
    sweep: Sweep,
    variants: Sequence[str],
    screen: Screen,
) -> None:
    """Measures the runs and groups that have ended, and stores the record after each.

    A run or a group is measured again if the experiment's file names other measures
    than before.

    Args:
      record: changed in place.
      experiment: says what is measured.
      sweep: the runs.
      variants: the variant of each run.
      screen: shows the progress; some measures evaluate the network.
    """
    pairs = zip(variants, sweep.trials, strict=True)
    ended = [pair for pair in pairs if pair[1].state in ("done", "diverged")]
    groups = _groups(experiment, [pair for pair in ended if pair[1].state == "done"])
    taken = experiment.measured(record["size"])
    joint = [each for each in taken if measures.is_joint(each)]
    own = [each for each in taken if not measures.is_joint(each)]
    record.setdefault("groups", {})  # older records have none
    record["variants"] = {variant: _settings(trial) for variant, trial in ended}
    with screen.progress("measure", len(ended) + len(groups)) as progress:
        for variant, trial in ended:
            known = record["runs"].get(trial.name)
            stored = known and [*known["numbers"], *known["series"]]
            wanted = _available(own, experiment.series, sweep.path(trial))
            if stored != [*wanted[0], *wanted[1]]:
                record["runs"][trial.name] = {
                    "variant": variant,
                    "seed": trial.overrides["seed"],
                    **_measure(*wanted, sweep.path(trial)),
                }
                save(record, sweep.workdir)
            progress.advance()
        for variant, trials in groups:
            name = f"{trials[0].name} to {trials[-1].name}"
            known = record["groups"].get(name, {"numbers": ()})
            if [*known["numbers"]] != joint:
                numbers = _take(joint, [sweep.path(each) for each in trials])
                record["groups"][name] = {"variant": variant, "numbers": numbers}
                save(record, sweep.workdir)
            progress.advance()
    save(record, sweep.workdir)


def _settings(trial: Trial) -> dict[str, Any]:
    found = {key: value for key, value in trial.overrides.items() if key != "seed"}
    return found | {"config": found["config"].partition(":")[0]}


def _groups(
    experiment: Experiment, ended: Sequence[tuple[str, Trial]]
) -> list[tuple[str, list[Trial]]]:
    """Returns the variant and the runs of each group that has ended.

    The first group has the first seeds; no run is in two groups, so that the groups of
    a variant are independent of each other.
    """
    found: dict[tuple[str, int], list[Trial]] = {}
    for variant, trial in ended if experiment.group else ():
        number = trial.overrides["seed"] // experiment.group
        found.setdefault((variant, number), []).append(trial)
    return [
        (variant, trials)
        for (variant, _), trials in found.items()
        if len(trials) == experiment.group
    ]


def _take(keys: Sequence[str], source: Path | Sequence[Path]) -> Record:
    return {key: _to_json(measures.take(key, source)) for key in keys}


def _available(
    keys: Sequence[str], series: Sequence[str], workdir: Path
) -> tuple[Sequence[str], Sequence[str]]:
    """Returns those measures and series that a run has, diverged or not."""
    if not read_divergence(workdir):
        return keys, series
    return [key for key in keys if measures.find(key)[0].of_diverged], []


def _measure(keys: Sequence[str], series: Sequence[str], workdir: Path) -> Record:
    diverged = read_divergence(workdir)
    return {
        "numbers": _take(keys, workdir),
        "series": {key: measures.take_series(key, workdir) for key in series},
        "curve": epochs.curve(workdir),
        "diverged": diverged["reason"].partition(": ")[0] if diverged else "",
        **_facts(workdir),
    }


def save(record: Record, folder: Path) -> None:
    """Writes the record."""
    write_text(folder / NAME, as_text(record))


def as_text(record: Record) -> str:
    """Returns the text of a record's file."""
    return json.dumps(record, indent=1) + "\n"


def only(record: Record, variants: Sequence[str]) -> Record:
    """Returns the record without the runs and groups of other variants."""
    kept = {
        key: {name: run for name, run in found.items() if run["variant"] in variants}
        for key, found in record.items()
        if key in ("runs", "groups")
    }
    return record | kept


def numbers(record: Record) -> Numbers:
    """Returns the measured numbers by variant and measure, in the order of the runs."""
    found: dict[str, dict[str, list[Value]]] = {}
    for run in (*record["runs"].values(), *record.get("groups", {}).values()):
        of_variant = found.setdefault(run["variant"], {})
        for key, value in run["numbers"].items():
            if value is not None:  # the machine does not say
                of_variant.setdefault(key, []).append(_from_json(value))
    return found


def curves(record: Record) -> dict[str, list[list[list[float]]]]:
    """Returns the curves of the runs by variant: epoch, training, validation error."""
    found: dict[str, list[list[list[float]]]] = {}
    for run in record["runs"].values():
        found.setdefault(run["variant"], []).append(run["curve"])
    return found


def series(record: Record, key: str) -> dict[str, list[dict[str, float]]]:
    """Returns a series by variant, one for each of its runs."""
    found: dict[str, list[dict[str, float]]] = {}
    for run in record["runs"].values():
        if key in run["series"]:  # a run that diverged has none
            found.setdefault(run["variant"], []).append(run["series"][key])
    return found


def diverged(record: Record) -> dict[str, Record]:
    """Returns the runs whose loss became infinite or not a number, by name."""
    runs = record["runs"].items()
    return {name: run for name, run in runs if run.get("diverged")}


def minutes(record: Record) -> float:
    """Returns the training time of all runs together."""
    return sum(run["minutes"] for run in record["runs"].values())


def minutes_on_two_cores(record: Record) -> float | None:
    """Returns the training time with both cores busy; None: it was on no processor.

    A run on one core leaves the other to another run.
    """
    runs = list(record["runs"].values())
    cores = [re.search(r"^cpu, (\d+) core", run["device"]) for run in runs]
    known = [int(found[1]) for found in cores if found]
    if len(known) < len(runs):
        return None
    used = zip((run["minutes"] for run in runs), known, strict=True)
    return sum(time * number for time, number in used) / 2


def _facts(workdir: Path) -> Record:
    """Returns how a run was made: its time, device, data and commit."""
    from cnn_arch.experiments import halves  # takes a quarter of a second to import

    log = (workdir / "log.txt").read_text(encoding="utf-8")
    facts = (workdir / "environment.txt").read_text(encoding="utf-8")
    return {
        "minutes": round(epochs.minutes(workdir), 3),
        "device": _last(r" device +(.*?)(?: {3}|$)", log),
        "data": _last(r" data +(.*)$", log) + halves.describe(workdir),
        "commit": _last(r"^commit +(\S+)", facts),
    }


def _last(pattern: str, text: str) -> str:
    found = re.findall(pattern, text, re.MULTILINE)
    return found[-1] if found else "unknown"


def _to_json(value: Value | None) -> Any:
    return {"at_least": value.least} if isinstance(value, Bound) else value


def _from_json(value: Any) -> Value:
    return Bound(float(value["at_least"])) if isinstance(value, dict) else float(value)
