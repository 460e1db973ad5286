"""The campaign: its options, its order, its record, its table and its page."""

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import progress
from rich.console import Console

from tests.campaign import (
    attacks,
    calls,
    flips,
    full_disk,
    fuzzed_settings,
    kills,
    lost_rank,
    pictures,
    soak,
    table,
    torn,
    two_processes,
)
from tests.campaign.lab import Lab, Part
from tests.campaign.launch import ROOT
from tests.campaign.table import Record, Trial

PARTS = [
    kills.PART,
    calls.KILLS,
    calls.ERRORS_PART,
    torn.PART,
    flips.PART,
    lost_rank.PART,
    full_disk.PART,
    two_processes.PART,
    attacks.PART,
    pictures.PART,
    fuzzed_settings.SETTINGS,
    fuzzed_settings.FILES,
    soak.PART,
]
PAGE = ROOT / "docs" / "reliability.md"
EPILOG = """\
examples:
  python -m tests.campaign --short                    as in CI: about one minute
  python -m tests.campaign                            about 30 minutes
  python -m tests.campaign --long --page              a night; writes the page
  python -m tests.campaign --only=kills --trials=5
  python -m tests.campaign --only=flips --trial=17    one trial again
  python -m tests.campaign --list

The same command continues a campaign that was interrupted. Exit status: 0 no fault,
1 faults, 2 a wrong option."""


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the options."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaign",
        description="Disturbs train.py and eval.py, and compares with an undisturbed "
        "run, bit for bit.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add, names = parser.add_argument, [part.name for part in PARTS]
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--short", action="store_true", help="few trials, for CI")
    size.add_argument("--long", action="store_true", help="all trials, for a night")
    add("--only", action="append", choices=names, metavar="NAME", help="only this part")
    add("--trials", type=int, metavar="N", help="so many trials of each part")
    add("--trial", type=int, metavar="I", help="only the trial of this number")
    add("--seed", type=int, default=0, help="of all that is random; default 0")
    add("--output", default="runs/campaign", help="default runs/campaign")
    add("--new", action="store_true", help="forget the trials that were made before")
    add("--page", action="store_true", help="write docs/reliability.md from the trials")
    add("--list", action="store_true", help="list the parts and end")
    return parser.parse_args(words)


def main() -> int:
    """Runs the campaign; returns its exit status."""
    options = parse()
    chosen = [part for part in PARTS if part.name in (options.only or [part.name])]
    if options.list:
        for part in PARTS:
            print(f"{part.name:<10} {part.meaning}")
        return 0
    folder = Path(options.output).resolve()
    if options.new:
        shutil.rmtree(folder, ignore_errors=True)
    lab = Lab(folder, options.seed)
    records = {
        part.name: Record(folder / f"{part.name}.jsonl", f"{commit()} {options.seed}")
        for part in PARTS
    }
    skipped = {part.name: why for part in chosen if (why := part.obstacle(lab))}
    console = Console(stderr=True)
    for name, why in skipped.items():
        console.print(f"skipped  {name}: {why}", highlight=False)
    with _bar(console) as bar:
        for part in chosen:
            if part.name not in skipped:
                numbers = _numbers(part, lab, options)
                _run(part, lab, numbers, records[part.name], bar)
    return _report(folder, records, skipped, options)


def _numbers(part: Part, lab: Lab, options: argparse.Namespace) -> list[int]:
    """Returns the numbers of the trials to make."""
    if options.trial is not None:
        return [options.trial]
    short, middle, long = part.sizes
    size = short if options.short else long if options.long else middle
    if options.long and part.count:
        size = part.count(lab)
    return list(range(size if options.trials is None else options.trials))


def _run(
    part: Part, lab: Lab, numbers: list[int], record: Record, bar: progress.Progress
) -> None:
    """Makes the trials that are not on record, and prints each fault."""
    left = [number for number in numbers if number not in record.trials]
    task = bar.add_task(
        f"{part.name:<9}", total=len(numbers), completed=len(numbers) - len(left)
    )
    for trial in part.run(lab, left) if left else ():
        record.add(trial)
        bar.advance(task)
        if trial.fault:
            bar.console.print(
                f"fault    {part.name} {trial.number}: {trial.case}\n"
                f"         {trial.fault}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
            _keep(lab, part, trial)
    bar.update(task, completed=len(numbers))


def _keep(lab: Lab, part: Part, trial: Trial) -> None:
    """Keeps the run directory of a fault; the next trial would overwrite it."""
    workdir, kept = lab.folder / "runs" / part.name, lab.folder / "faults"
    if workdir.exists() and len(list(kept.glob(f"{part.name}-*"))) < 10:
        target = kept / f"{part.name}-{trial.number}"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(workdir, target, symlinks=True, ignore_dangling_symlinks=True)


def _bar(console: Console) -> progress.Progress:
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=30),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        console=console,
    )


def _report(
    folder: Path,
    records: dict[str, Record],
    skipped: dict[str, str],
    options: argparse.Namespace,
) -> int:
    """Prints the table of all trials on record, writes results.json and the page."""
    shown = {name: each.shown for name, each in records.items()}
    made = {name: trials for name, (_, trials) in shown.items() if trials}
    results: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "seed": options.seed,
        "parts": {
            name: {"commit": shown[name][0], **table.summary(each)}
            for name, each in made.items()
        },
        "skipped": skipped,
        "faults": {
            name: faults
            for name, each in made.items()
            if (faults := [vars(trial) for trial in each if trial.fault])
        },
    }
    written = [folder / "results.json"]
    written[0].write_text(json.dumps(results, indent=2) + "\n")
    if options.page:
        table.write_page(PAGE, results, {part.name: part.meaning for part in PARTS})
        written.append(PAGE)
    print(table.text(results["parts"]))
    print(f"wrote    {'  '.join(map(os.path.relpath, written))}")
    return 1 if results["faults"] else 0


def commit() -> str:
    """Returns the commit; of a checkout with changes it ends in -dirty."""
    words = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    answer = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    return answer.stdout.strip() or "unknown"


def machine() -> str:
    """Returns the machine in words."""
    import psutil

    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores of {platform.machine()}, {memory:.0f} GiB, "
        f"{platform.system()} {platform.release()}, Python {sys.version.split()[0]}"
    )
