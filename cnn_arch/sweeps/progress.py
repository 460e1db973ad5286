"""What the files of a trial show: its epochs, its errors, and why it failed.

The files are the same on every executor, and they outlive the launcher and Slurm's
record of the job.
"""

import csv
import json
from pathlib import Path

from cnn_arch.run_directory import DIVERGED
from cnn_arch.sweeps.manifest import Sweep, Trial

NUM_LINES = 15  # to show of a log that has a traceback but no error line


def read_errors(workdir: Path) -> dict[float, float]:
    """Returns the validation error after each epoch so far: epoch -> percent."""
    return {
        float(row["epoch"]): float(row["validation_top1_error"])
        for row in _rows(workdir)
    }


def _rows(workdir: Path) -> list[dict[str, str]]:
    """Returns the rows of metrics.csv; the run may be writing the last one."""
    path = workdir / "metrics.csv"
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))


def num_epochs(workdir: Path) -> float | None:
    """Returns the number of epochs of a run; None while it is not known.

    It is known when the run has started or, if its length is in steps, after an epoch.
    """
    path = workdir / "config.json"
    if not path.exists():
        return None
    config = json.loads(path.read_text())
    if not config.get("steps"):
        return config["epochs"]
    rows = _rows(workdir)
    return (
        config["steps"] * float(rows[0]["epoch"]) / int(rows[0]["step"])
        if rows
        else None
    )


def test_error(workdir: Path) -> float | None:
    """Returns the error on the test split in percent; None before a run has ended."""
    path = workdir / "eval" / "results.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    return stored.get("test", {}).get("top1_error")


def ended_state(sweep: Sweep, trial: Trial) -> str:
    """Returns the state of a trial that is not running: one of four.

    These are done, diverged (the loss is not finite), failed and stopped.
    """
    # The README is the last file that a run writes.
    if (sweep.path(trial) / "README.md").exists():
        return "done"
    if (sweep.path(trial) / DIVERGED).exists():
        return "diverged"
    return "failed" if failure(sweep, trial) else "stopped"


def failure(sweep: Sweep, trial: Trial) -> str:
    """Returns why a trial failed, with the traceback if there is one; "" if unknown."""
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
    """Returns the files with the tracebacks of a crash: at most one per process."""
    return sorted(sweep.path(trial).glob("crash*.txt"))
