"""Trains recipes to the end and writes docs/results.md: our errors beside the papers'.

    python -m benchmarks.accuracy --list
    python -m benchmarks.accuracy --only=lenet --mnist=DIR

Each run is an ordinary train.py in runs/results; a run that was interrupted continues,
and a finished one is not repeated. benchmarks/results/accuracy.json keeps the numbers
and the curves, and --page writes the page from them alone.
"""

import argparse
import csv
import json
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from benchmarks import accuracy_ensembles, rounds
from benchmarks.accuracy_experiments import DATA, EXPERIMENTS
from cnn_arch.drawing import canvas
from cnn_arch.units import counted

PAGE = rounds.ROOT / "docs" / "results.md"
RECORD = rounds.HERE / "results" / "accuracy.json"
COLORS = canvas.BLUE, canvas.ORANGE, canvas.GREEN, canvas.PURPLE
INTRODUCTION = """\
# Results

The errors of trained recipes, beside those of their papers. Each part says what was
shortened. `python -m benchmarks.accuracy` makes the runs and this page; nobody edits
it. A test error is the mean over the seeds, with the standard deviation and, in
brackets, the lowest and the highest; "mean" of networks is that of their probabilities.
The minutes are those of the clock: other programs may have run at the same time,
and a run may have been paused."""


def runs_of(experiment: str) -> list[tuple[str, int, Path]]:
    """Returns the variant, the seed and the directory of each run."""
    chosen = EXPERIMENTS[experiment]
    folder = rounds.ROOT / "runs" / "results" / experiment
    return [
        (
            variant,
            seed,
            folder / variant.replace(", ", "-").replace(" ", "-") / f"{seed}",
        )
        for variant in chosen.variants
        for seed in range(chosen.seeds)
    ]


def words_of(experiment: str, variant: str, seed: int) -> list[str]:
    """Returns the words of train.py that make a run, without the data's folder."""
    words = list(EXPERIMENTS[experiment].variants[variant])
    return words + [f"--config.seed={seed}"] * (EXPERIMENTS[experiment].seeds > 1)


def train(experiment: str, data_dir: str) -> None:
    """Makes the runs of an experiment that are not finished.

    Raises:
      SystemExit: a run failed.
    """
    for variant, seed, workdir in runs_of(experiment):
        if is_finished(workdir):
            continue
        words = [*words_of(experiment, variant, seed), f"--data_dir={data_dir}"]
        command = [sys.executable, "train.py", *words, f"--workdir={workdir}"]
        ended = subprocess.run(command, cwd=rounds.ROOT)
        if ended.returncode:
            raise SystemExit(ended.returncode)


def read_run(workdir: Path) -> dict[str, Any]:
    """Returns the numbers of a run that has just finished, errors in percent."""
    with (workdir / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = "epoch", "train_top1_error", "validation_top1_error"
    facts = (workdir / "environment.txt").read_text().splitlines()
    results = json.loads((workdir / "eval" / "results.json").read_text())
    device = re.search(r" device .*?(\d+) cores?", (workdir / "log.txt").read_text())
    assert device, f"{workdir}/log.txt does not name the cores"
    cores, machine = counted(int(device[1]), "core"), rounds.machine()
    return {
        "machine": f"{machine['processor']} ({machine['vector_unit']}), {cores}",
        "test_error": results["test"]["top1_error"],
        "other_tests": {
            key.removeprefix("test_"): entry["top1_error"]
            for key, entry in results.items()
            if key.startswith("test_")
        },
        "num_test_images": results["test"]["num_examples"],
        "epochs": float(rows[-1]["epoch"]),
        "steps": int(rows[-1]["step"]),
        "minutes": sum(float(row["seconds"]) for row in rows) / 60,
        "commit": of_program(
            next(x.split()[1] for x in facts if x.startswith("commit"))
        ),
        "curve": [[round(float(row[key]), 3) for key in columns] for row in rows],
    }


def of_program(commit: str) -> str:
    """Returns the newest commit, up to this one, that changed the program itself."""
    words = ["git", "log", "-1", "--format=%h", "--abbrev=12", commit, "--"]
    words += ["cnn_arch", "configs", "train.py"]
    found = subprocess.run(words, cwd=rounds.ROOT, capture_output=True, text=True)
    return found.stdout.strip() or commit  # of a changed or unknown checkout: as it is


def collect() -> dict[str, Any]:
    """Returns the record, with the finished runs that it does not have yet.

    "runs" and "ensembles" are by experiment and variant, runs also by seed.
    """
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    runs, ensembles = (record.setdefault(key, {}) for key in ("runs", "ensembles"))
    for experiment in EXPERIMENTS:
        for variant, seed, workdir in runs_of(experiment):
            known = runs.get(experiment, {}).get(variant, {})
            if str(seed) not in known and is_finished(workdir):
                known[str(seed)] = read_run(workdir)
                runs.setdefault(experiment, {})[variant] = known
        for variant, known in runs.get(experiment, {}).items():
            if variant in ensembles.get(experiment, {}):
                continue
            paths = [path for name, _, path in runs_of(experiment) if name == variant]
            if len(paths) == len(known) > 1:
                others = known["0"]["other_tests"].keys() - {"average"}
                rows = accuracy_ensembles.of_runs(paths, ["", *sorted(others)])
                ensembles.setdefault(experiment, {})[variant] = rows
    return record


def is_finished(workdir: Path) -> bool:
    """Whether a run has ended with its test."""
    path = workdir / "eval" / "results.json"
    return path.exists() and "test" in json.loads(path.read_text())


def section(name: str, record: Mapping[str, Any]) -> str:
    """Returns an experiment's part of the page."""
    experiment, runs = EXPERIMENTS[name], record["runs"][name]
    every = [run for seeds in runs.values() for run in seeds.values()]
    others = sorted({key for run in every for key in run["other_tests"]})
    columns = ["recipe", "test error", *(key.replace("_", " ") for key in others)]
    columns += ["seeds", "epochs", "minutes a run", "commit"]
    rows = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    missing = []
    for variant in experiment.variants:
        if variant in runs:
            found = cells(list(runs[variant].values()), others)
            rows.append(f"| {variant} | {' | '.join(found)} |")
        else:
            missing.append(variant)
    lines = [f"## {experiment.title}", "\n".join(rows)]
    if ensembles := record.get("ensembles", {}).get(name):
        lines.append(accuracy_ensembles.table(ensembles))
    if missing:
        lines.append(f"Not run yet: {', '.join(missing)}.")
    machines = "; ".join(sorted({run["machine"] for run in every}))
    lines += [
        f"The paper: {experiment.paper}",
        f"Here: {experiment.remarks} Each network is tested once, on "
        f"{every[0]['num_test_images']:,} images, at its lowest validation error. "
        f"Machine: {machines}.",
        f"![Validation and training error by epoch](results/{name}.png)",
    ]
    commands = [
        shlex.join(["python", "train.py", *words_of(name, variant, 0)])
        for variant in experiment.variants
    ]
    lines.append("\n".join(["```", *commands, "```"]))
    return "\n\n".join(lines)


def cells(runs: Sequence[Mapping[str, Any]], others: Sequence[str]) -> list[str]:
    """Returns the cells of a table's row: the runs of one variant."""
    tests = [[run["test_error"] for run in runs]]
    found = [run["other_tests"] for run in runs]
    tests += [[each[key] for each in found if key in each] for key in others]
    minutes = statistics.median(run["minutes"] for run in runs)
    commits = sorted({run["commit"][:7] for run in runs})
    return [
        *map(mean_and_spread, tests),
        str(len(runs)),
        f"{runs[0]['epochs']:g}",
        f"{minutes:.1f}",
        ", ".join(f"`{commit}`" for commit in commits),
    ]


def mean_and_spread(errors: Sequence[float]) -> str:
    """Returns the mean of errors in percent, their deviation and their range."""
    if not errors:
        return ""
    shown = f"{statistics.mean(errors):.2f} %"
    if len(errors) > 1:
        spread = f"{min(errors):.2f} to {max(errors):.2f}"
        shown += f" ± {statistics.stdev(errors):.2f} ({spread})"
    return shown


@canvas.styled
def draw(path: Path, runs: Mapping[str, Mapping[str, Any]]) -> None:
    """Draws the errors by epoch: lines of the mean over seeds, bands of all seeds."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for color, (variant, seeds) in zip(COLORS, runs.items(), strict=False):
        curves = np.array([run["curve"] for run in seeds.values()])
        epochs, training, validation = np.moveaxis(curves, 2, 0)
        axes.plot(epochs[0], validation.mean(axis=0), color=color, label=variant)
        axes.plot(epochs[0], training.mean(axis=0), color=color, linestyle=":")
        if len(curves) > 1:
            low, high = validation.min(axis=0), validation.max(axis=0)
            axes.fill_between(epochs[0], low, high, color=color, alpha=0.2, linewidth=0)
    axes.plot([], [], color=canvas.GREY, label="validation; band: all seeds")
    axes.plot([], [], color=canvas.GREY, linestyle=":", label="training")
    axes.set(xlabel="epoch", ylabel="error, %", yscale="log")
    # Numbers between the powers of ten too, if the axis has few of these.
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
    axes.grid(visible=True, which="both")
    axes.legend()
    canvas.write(figure, path)


def page(record: Mapping[str, Any]) -> str:
    """Returns docs/results.md."""
    parts = [section(name, record) for name in EXPERIMENTS if name in record["runs"]]
    if "published" in record:
        parts.append(accuracy_ensembles.section_of_published(record["published"]))
    return "\n\n".join([INTRODUCTION, *parts]) + "\n"


def main() -> None:
    """Makes the runs that are asked for, and writes the record and the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--list", action="store_true", help="list what there is and end"
    )
    parser.add_argument("--only", choices=EXPERIMENTS, help="one experiment")
    parser.add_argument("--page", action="store_true", help="only write the page")
    for name, text in DATA.items():
        parser.add_argument(f"--{name}", metavar="DIR", help=f"the folder of {text}")
    text = "evaluate the published ResNets in this folder (resnet20.th ...) on --cifar"
    parser.add_argument("--resnets", metavar="DIR", type=Path, help=text)
    options = parser.parse_args()
    chosen = [options.only] if options.only else list(EXPERIMENTS)
    if options.list:
        for name in chosen:
            done = [is_finished(workdir) for *_, workdir in runs_of(name)]
            count = f"{sum(done)} of {len(done)}"
            print(f"{name:<14}{count:<10}{EXPERIMENTS[name].title}")
        return
    if options.resnets and not options.cifar:
        parser.error(f"--resnets: give the folder of {DATA['cifar']} with --cifar=DIR")
    only_writes = options.page or options.resnets
    for name in [] if only_writes else chosen:
        data = EXPERIMENTS[name].data
        if not (folder := getattr(options, data)):
            parser.error(f"--{data}=DIR: give the folder of {DATA[data]}")
        train(name, folder)
    record = collect()
    if options.resnets:
        row = accuracy_ensembles.of_published(options.resnets, options.cifar)
        record["published"] = row
    rounds.write(RECORD, record)
    for name, runs in record["runs"].items():
        draw(PAGE.parent / "results" / f"{name}.png", runs)
    PAGE.write_text(page(record), encoding="utf-8")
    print(f"wrote    {PAGE}")


if __name__ == "__main__":
    main()
