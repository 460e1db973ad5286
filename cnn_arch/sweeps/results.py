"""The results of a sweep: results.csv, and the best trial."""

from typing import Any

from cnn_arch.files import write_csv
from cnn_arch.sweeps import progress
from cnn_arch.sweeps.manifest import Sweep, Trial

ERROR = "validation_top1_error"  # percent; trials are compared by this column


def row(sweep: Sweep, trial: Trial) -> dict[str, Any]:
    """Returns a trial's line of results.csv; errors in percent, None if unknown.

    Both errors belong to the trial's best checkpoint.
    """
    workdir = sweep.path(trial)
    errors = progress.read_errors(workdir)
    return {
        "trial": trial.name,
        **{key: trial.overrides.get(key) for key in swept(sweep)},
        ERROR: min(errors.values(), default=None),
        "test_top1_error": progress.test_error(workdir),
        "epochs": max(errors, default=0),
        "state": trial.state,
        "workdir": str(workdir),
    }


def swept(sweep: Sweep) -> list[str]:
    """Returns the settings that differ between trials, in the order of the file."""
    keys = (key for trial in sweep.trials for key in trial.overrides)
    return list(dict.fromkeys(keys))


def best(sweep: Sweep) -> Trial | None:
    """Returns the finished trial with the lowest validation error, the first of equals.

    The choice never depends on the test error.
    """
    done = [trial for trial in sweep.trials if trial.state == "done"]
    errors = {trial.name: row(sweep, trial)[ERROR] for trial in done}
    return min(done, key=lambda trial: errors[trial.name], default=None)


def write(sweep: Sweep) -> list[str]:
    """Writes results.csv, a line for each trial, and its figures; returns their names.

    The first figure compares the settings one by one. If there are several settings, a
    second figure shows all of them together.
    """
    rows = [row(sweep, trial) for trial in sweep.trials]
    keys = swept(sweep)
    names = ["trial", *keys, ERROR, "test_top1_error", "epochs", "state", "workdir"]
    lines = [names, *([each[name] for name in names] for each in rows)]
    write_csv(sweep.workdir / "results.csv", lines)
    written = ["results.csv"]
    if any(each[ERROR] is not None for each in rows):
        from cnn_arch.sweeps import figure

        figure.errors(sweep.workdir / "plots" / "errors.png", rows, keys)
        written.append("plots/errors.png")
        if len(keys) > 1:
            figure.parallel(sweep.workdir / "plots" / "parallel.png", rows, keys)
            written.append("plots/parallel.png")
    return written
