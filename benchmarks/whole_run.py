"""Compares whole runs of train.py with their bare training step.

    python benchmarks/whole_run.py --config=configs/resnet20.py:cifar10

A run is train.py on real images: loader, steps, validation, logs and checkpoints. The
bare step is the same program on one batch in memory, before and after the run.
--config.KEY=VALUE changes a setting of the recipe.
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import rounds

# Parts of the main thread's time from the first step to the end of the last checkpoint.
SHARES = ("input wait", "logging", "checkpoints", "validation")


def run_once(words: list[str], folder: Path) -> dict[str, float]:
    """Runs train.py with its options; its run directory is made in the folder.

    Returns:
      Steps a second, in the run and bare, and shares of the run's time.

    Raises:
      SystemExit: the run failed.
    """
    place = Path(tempfile.mkdtemp(dir=folder))
    command = [sys.executable, str(rounds.HERE / "whole_run_ours.py")]
    command += [str(place / "seconds.json"), *words, f"--workdir={place}/run"]
    environment = {**os.environ, "PYTHONPATH": str(rounds.ROOT)}
    ended = subprocess.run(command, cwd=rounds.ROOT, env=environment)
    if ended.returncode:
        raise SystemExit(ended.returncode)
    seconds = json.loads((place / "seconds.json").read_text())
    with (place / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    seconds["input wait"] = sum(float(row["input_wait_seconds"]) for row in rows)
    return {
        "steps a second": int(rows[-1]["step"]) / seconds["steps"],
        "bare steps a second": seconds["number of bare steps"] / seconds["bare steps"],
        **{name: seconds[name] / seconds["run"] for name in SHARES},
    }


def main() -> None:
    """Runs the rounds, prints the table and writes the results."""
    parser = rounds.make_parser(__doc__, "whole_run")
    parser.add_argument("--config", default="configs/resnet20.py:cifar10")
    options, settings = parser.parse_known_args()
    words = [f"--config={options.config}", *settings]

    path = rounds.result_path("whole_run", options.output)
    results = rounds.header("whole runs of train.py", options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        turns = {"run": lambda: run_once(words, Path(folder))}
        runs = rounds.take_turns(turns, options.rounds, "whole run")["run"]

    run = [one["steps a second"] for one in runs]
    bare = [one["bare steps a second"] for one in runs]
    ratio, spread = rounds.compare(run, bare)
    shares = {name: rounds.summarize([one[name] for one in runs], 5) for name in SHARES}
    results |= {
        "words": words,
        "steps_per_second": rounds.summarize(run, 3),
        "bare_steps_per_second": rounds.summarize(bare, 3),
        "ratio": ratio,
        "ratio_spread": spread,
        "shares": shares,
    }
    rounds.write(path, results)
    rows = [
        ["steps a second", rounds.shown(results["steps_per_second"])],
        ["bare steps a second", rounds.shown(results["bare_steps_per_second"])],
        ["ratio", rounds.shown_ratio(ratio, spread)],
    ]
    for name, share in shares.items():
        percent = {key: 100 * value for key, value in share.items()}
        rows.append([f"{name}, % of the time", rounds.shown(percent)])
    rounds.print_table(["of the run", options.config], rows, path)


if __name__ == "__main__":
    main()
