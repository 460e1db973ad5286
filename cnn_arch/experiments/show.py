"""Experiments on the screen: the list, a claim, a verdict, and the page of all."""

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from cnn_arch import command_line
from cnn_arch.errors import UsageError
from cnn_arch.experiments import plan, record, rules
from cnn_arch.experiments.plan import Experiment
from cnn_arch.installation import command
from cnn_arch.screen import Screen
from cnn_arch.units import counted

COLUMNS = 72  # of a text beside a label


def list_all(runs: Path, screen: Screen) -> str:
    """Lists the experiments: minutes of two cores at each size, verdict, claim.

    Returns:
      The command that runs the first.
    """
    screen.row(f"{'experiment':<16}{'minutes':<9}{'full':<9}verdict")
    experiments = plan.read_all()
    for experiment in experiments:
        shown = [_time(experiment.name, size, runs) for size in plan.SIZES]
        verdict, origin = state(experiment, runs)
        text = f"{verdict} ({origin})" if origin else verdict
        screen.row(f"{experiment.name:<16}{shown[0]:<9}{shown[1]:<9}{text}")
        for line in _wrapped(experiment.claim):
            screen.row(f"    {line}")
    return command("experiment", experiments[0].name)


def state(experiment: Experiment, runs: Path) -> tuple[str, str]:
    """Returns the verdict so far, and the size and place of the runs; "": none."""
    newest = record.newest(experiment.name, runs)
    if not newest:
        return "not run", ""
    found, place = newest
    verdict, _ = rules.decide(experiment.rule, record.numbers(found))
    return verdict, f"{found['size']}, {place}"


def as_claims(runs: Path) -> Iterator[dict[str, str]]:
    """Yields each experiment's part of a record of ``analyze.py --claims``."""
    for experiment in plan.read_all():
        verdict, origin = state(experiment, runs)
        yield {
            "about": experiment.name,
            "text": experiment.claim,
            "source": "; ".join(experiment.sources),
            "verdict": verdict,
            "protocol": origin,
            "command": command("experiment", experiment.name),
        }


def say_claim(experiment: Experiment, screen: Screen) -> None:
    """Prints what is tried."""
    _say_lines("claim", _wrapped(experiment.claim), screen)


def say_verdict(
    experiment: Experiment, found: record.Record, folder: Path, screen: Screen
) -> None:
    """Prints each comparison of the rule and the verdict, and writes the page."""
    if not found["runs"]:
        screen.say("verdict", "none yet: no run has ended", last=True)
        return
    from cnn_arch.experiments import page

    verdict, outcomes = rules.decide(experiment.rule, record.numbers(found))
    lines = []
    for pair in zip(experiment.rule, outcomes, strict=True):
        lines += _wrapped(page.describe(*pair), indent="  ")
    _say_lines("rule", lines, screen)
    if lost := record.diverged(found):
        text = f"{len(lost)} of {counted(len(found['runs']), 'run')}"
        screen.say("diverged", f"{text}; their errors count as those of guessing")
    screen.say("verdict", verdict, last=True)
    screen.say("wrote", "  ".join(page.write(experiment, found, folder)))


def report(runs: Path, target: Path, screen: Screen) -> int:
    """Writes the page of all experiments.

    Raises:
      UsageError: none has been run.
    """
    from cnn_arch.experiments import page
    from cnn_arch.lectures.show import table_of_counts  # takes a second to import

    command_line.check_folder("--report", str(target))
    if not any(runs.glob(f"*/{record.NAME}")):
        start = command("experiment", plan.read_all()[0].name)
        raise UsageError(
            f"--report={target}: no experiment has been run here; run one: {start}"
        )
    path, count = page.write_report(runs, target, table_of_counts())
    screen.say("wrote", f"{path}   ({counted(count, 'experiment')})", last=True)
    return 0


def _time(name: str, size: str, runs: Path) -> str:
    """Returns how long an experiment took at a size; "": not run, or on a GPU."""
    found = record.find(name, size, runs)
    time = found and record.minutes_on_two_cores(found[0])
    return f"{time:.0f} min" if time else ""


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, COLUMNS, subsequent_indent=indent, break_on_hyphens=False
    )


def _say_lines(label: str, lines: Sequence[str], screen: Screen) -> None:
    for number, line in enumerate(lines):
        screen.say("" if number else label, line)
