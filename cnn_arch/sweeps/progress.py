"""What the files of a trial say of it: how far it is, its errors, why it failed.

They are the same wherever the trial ran, and they outlive the launcher and the
scheduler's memory.
"""

import csv
import json
from pathlib import Path

from cnn_arch.sweeps.manifest import Sweep, Trial

NUM_LINES = 15  # of a log without an error line that are worth showing


def read_errors(workdir: Path) -> dict[float, float]:
    """Returns the validation error in percent after each epoch so far."""
    path = workdir / "metrics.csv"
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]  # the run may be writing the last row
    return {
        float(row["epoch"]): float(row["validation_top1_error"])
        for row in csv.DictReader(whole.splitlines())
    }


def num_epochs(workdir: Path) -> float | None:
    """Returns the length of a run, once it has begun."""
    path = workdir / "config.json"
    return json.loads(path.read_text())["epochs"] if path.exists() else None


def test_error(workdir: Path) -> float | None:
    """Returns the error in percent on the test split, once a run is through."""
    path = workdir / "eval" / "results.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    return stored.get("test", {}).get("top1_error")


def ended_state(sweep: Sweep, trial: Trial) -> str:
    """Returns what became of a trial that is not running: done, failed or stopped."""
    # A run writes its README last of all, and removes what is left of a crash.
    if (sweep.path(trial) / "README.md").exists():
        return "done"
    return "failed" if failure(sweep, trial) else "stopped"


def failure(sweep: Sweep, trial: Trial) -> str:
    """Returns why a trial failed, with the traceback if it left one, or nothing."""
    if crashes := crash_files(sweep, trial):
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in crashes]
        return "\n".join(text.strip() for text in texts)
    log = sweep.log(trial)
    if not log.exists():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if errors := [line for line in lines if line.startswith("error: ")]:
        return errors[-1]
    if any(line.startswith("Traceback ") for line in lines):
        return "\n".join(lines[-NUM_LINES:])
    return ""


def crash_files(sweep: Sweep, trial: Trial) -> list[Path]:
    """Returns the records of a crash: one of each process that left one."""
    return sorted(sweep.path(trial).glob("crash*.txt"))
