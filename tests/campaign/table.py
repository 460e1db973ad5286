"""The outcome of trials: counts, their 95 % bounds, JSON, a table, a page."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scipy.stats import beta

INTRODUCTION = """\
# Reliability

`python -m tests.campaign` disturbs `train.py` and `eval.py` and compares with a run
that nobody disturbed. The program writes this page; nobody edits it.

A trial has a fault in any of these cases:

- The parameters, metrics, predictions or TensorBoard's points of the finished run
  differ in one bit from those of the undisturbed run.
- A checkpoint is listed, but cannot be read.
- A command ends with status 0, but its result is missing or wrong.
- The same command cannot continue the run.
- A command does not end, ends with a Python exception, or prints more than one line of
  error.

`python -m tests.campaign --help` shows how to repeat a part or a single trial. The
bounds are those of Clopper and Pearson (1934): with 95 % confidence, the share of
faults is within them."""


@dataclass(frozen=True)
class Trial:
    """One trial of a part."""

    number: int
    case: str  # what was done, in words that name the place
    fault: str = ""  # what was wrong, "KIND: DETAIL"; "": as it should be
    command: str = ""  # that shows the fault


def bounds(faults: int, trials: int) -> tuple[float, float]:
    """Returns the 95 % bounds of the share of faults (Clopper and Pearson 1934)."""
    if not trials:
        return 0.0, 1.0
    low = beta.ppf(0.025, faults, trials - faults + 1) if faults else 0.0
    high = beta.ppf(0.975, faults + 1, trials - faults) if faults < trials else 1.0
    return float(low), float(high)


def summary(trials: Sequence[Trial]) -> dict[str, Any]:
    """Returns the counts of a part, as JSON values."""
    faults = [trial for trial in trials if trial.fault]
    low, high = bounds(len(faults), len(trials))
    kinds = Counter(trial.fault.partition(":")[0] for trial in faults)
    return {
        "trials": len(trials),
        "faults": len(faults),
        "low": low,
        "high": high,
        "kinds": dict(kinds.most_common()),
    }


def text(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the table for a terminal."""
    rows = [f"{'part':<14}{'trials':>8}{'faults':>8}   {'95 % bounds':<20}kinds"]
    for name, each in summaries.items():
        kinds = ", ".join(f"{kind} {count}" for kind, count in each["kinds"].items())
        rows.append(
            f"{name:<14}{each['trials']:>8,}{each['faults']:>8,}   "
            f"{_percent(each):<20}{kinds}".rstrip()
        )
    return "\n".join(rows)


def page_rows(
    summaries: Mapping[str, Mapping[str, Any]], meanings: Mapping[str, str]
) -> str:
    """Returns the table of the page."""
    rows = ["| part | what is tried | commit | trials | faults | 95 % bounds |"]
    rows.append("|---|---|---|---|---|---|")
    for name, each in summaries.items():
        rows.append(
            f"| {name} | {meanings[name]} | `{each['commit'][:7]}` "
            f"| {each['trials']:,} | {each['faults']:,} | {_percent(each)} |"
        )
    return "\n".join(rows)


def write_page(
    path: Path, results: Mapping[str, Any], meanings: Mapping[str, str]
) -> None:
    """Writes docs/reliability.md: what is tried, the last figures, the faults."""
    lines = [
        INTRODUCTION,
        "## The last figures",
        f"{results['date']}, seed {results['seed']}, on {results['machine']}. A part "
        "is repeated after a change to what it disturbs, so each has its own commit.",
        page_rows(results["parts"], meanings),
        *(
            f"Not tried here: {name} ({why})."
            for name, why in results["skipped"].items()
        ),
        "## The faults",
    ]
    faults = []
    for name, each in results["faults"].items():
        kinds = Counter(fault["fault"].partition(":")[0] for fault in each)
        for kind, count in kinds.most_common():
            first = next(f for f in each if f["fault"].startswith(kind))
            example = f"{first['case']}: {first['fault']}"[:240].replace("`", "'")
            faults.append(f"- {name}, {kind} ({count}): `{example}`")
    lines.append("\n".join(faults) or "None.")
    path.write_text("\n\n".join(lines) + "\n", encoding="utf-8")


def _percent(each: Mapping[str, Any]) -> str:
    return f"{100 * each['low']:.2g} to {100 * each['high']:.2g} %"


def _has_trials(item: tuple[str, dict[int, Any]]) -> bool:
    return bool(item[1])


class Record:
    """The trials of one part on disk, a line each: an interrupted campaign continues.

    Trials of another commit or another seed are not continued. They are shown until
    the part has a trial of this commit.
    """

    def __init__(self, path: Path, key: str):
        """Opens the file; ``key`` names the commit and the seed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._by_key: dict[str, dict[int, Trial]] = {}
        self._key = key
        lines = path.read_text().splitlines() if path.exists() else []
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:  # the campaign was killed in this line
                continue
            trial_key = row.pop("key")
            self._by_key.setdefault(trial_key, {})[row["number"]] = Trial(**row)
        self.trials = self._by_key[key] = self._by_key.pop(key, {})
        self._file = path.open("a", encoding="utf-8")

    @property
    def shown(self) -> tuple[str, list[Trial]]:
        """The newest commit that has trials, and these; no trials if none has."""
        *_, (key, trials) = [("", {}), *filter(_has_trials, self._by_key.items())]
        return key.partition(" ")[0], list(trials.values())

    def add(self, trial: Trial) -> None:
        """Adds a trial."""
        self.trials[trial.number] = trial
        row = {"key": self._key, **asdict(trial)}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
