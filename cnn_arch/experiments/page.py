"""The pages of experiments: one for each, and one of all."""

import math
import shlex
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from cnn_arch.experiments import figures, measures, plan, record, rules
from cnn_arch.experiments.plan import Experiment
from cnn_arch.experiments.record import Record
from cnn_arch.files import write_text
from cnn_arch.installation import command
from cnn_arch.sweeps import space
from cnn_arch.units import counted, number

INTRODUCTION = """\
# What the lectures claim, tried

Each part has a claim of the lectures, how it is tried, what was measured, and a verdict
(holds, does not hold, or not decided at this size). The verdict is computed by a rule
that was written before the runs, from 95 % intervals over the seeds: Welch's t-test, or
the paired t-test where two numbers of the same networks are compared.
These show what the choice of the seed changes, not what other test images would. The
runs are short, and on small data: nothing here decides a claim about ImageNet.
`python experiment.py` lists the experiments; `python experiment.py --report=docs` makes
this page, and nobody edits it. What can be counted and need not be tried is
[at its end](#what-is-counted)."""
COUNTED = """\
## What is counted

{}
`python analyze.py --claims` shows them, and the errors that the lectures quote, beside
their papers.

{}"""


def write(experiment: Experiment, found: Record, folder: Path) -> list[str]:
    """Writes the figure and the page of an experiment; returns the files' names."""
    pictures = figures.draw(experiment, found, folder)
    text = section(experiment, found, "figure.png", level="#")
    write_text(folder / "README.md", text + "\n")
    return ["README.md", *(path.name for path in pictures), record.NAME]


def write_report(runs: Path, target: Path, counts: tuple[str, str]) -> tuple[Path, int]:
    """Writes lectures.md of all experiments, and returns its path and their number.

    The records and figures go to ``target``/lectures. Those that are there, of
    experiments that are not in ``runs``, stay. A full record is before one of minutes.
    ``counts`` has a sentence on the claims that are counted, and their table.
    """
    own = target / "lectures"
    own.mkdir(parents=True, exist_ok=True)
    rows = ["| experiment | claim | verdict | size |", "|---|---|---|---|"]
    parts = []
    for experiment in plan.read_all():
        names = [f"{experiment.name}-{size}" for size in plan.SIZES]
        for name in names:
            if found := record.load(runs / name):
                write_text(own / f"{name}.json", record.as_text(found))
        stored = [name for name in names if (own / f"{name}.json").exists()]
        if not stored:
            continue
        shown, picture = stored[-1], f"{experiment.name}.png"  # full is the last
        found = record.read(own / f"{shown}.json")
        if (runs / shown / record.NAME).exists():
            figures.draw(experiment, found, runs / shown)
            shutil.copyfile(runs / shown / "figure.png", own / picture)
        rows.append(_row(experiment, found))
        parts.append(section(experiment, found, f"lectures/{picture}", level="##"))
    path = target / "lectures.md"
    table = "\n".join(rows)
    text = "\n\n".join([INTRODUCTION, table, *parts, COUNTED.format(*counts)])
    write_text(path, text)
    return path, len(parts)


def _row(experiment: Experiment, found: Record) -> str:
    """Returns the table's row: a link to the section, and the claim in general."""
    name = experiment.name
    verdict, _ = rules.decide(experiment.rule, record.numbers(found))
    link = f"#{name}-{verdict.replace(' ', '-')}"  # GitHub's, of the section's heading
    claim = experiment.claim.partition(" (here:")[0].rstrip(".")
    size = found["size"] + ", unfinished" * any(_unfinished(experiment, found))
    return f"| [{name}]({link}) | {claim} | {verdict} | {size} |"


def section(experiment: Experiment, found: Record, picture: str, *, level: str) -> str:
    """Returns the text of an experiment: claim, verdict, figure, table, method."""
    numbers = record.numbers(found)
    verdict, outcomes = rules.decide(experiment.rule, numbers)
    seeds = len({run["seed"] for run in found["runs"].values()})
    over = counted(seeds, "seed")
    if size := experiment.group:
        over = f"{counted(seeds // size, 'group')} of {size} seeds"
    if unfinished := list(_unfinished(experiment, found)):
        over = f"at most {over}"
    parts = [
        f"{level} {experiment.name}: {verdict}",
        f"**Claim.** {experiment.claim}",
        "Sources: " + "; ".join(experiment.sources) + ".",
        f"![{experiment.name}]({picture})",
        "\n".join(_table(experiment, found)),
        *unfinished,
        *_diverged(found),
        f"**Rule.** The claim holds if all of these hold (95 % intervals over {over}):",
        "\n".join(
            f"- {describe(comparison, outcome)}"
            for comparison, outcome in zip(experiment.rule, outcomes, strict=True)
        ),
        f"**Method.** {' '.join(_method(found))}",
        f"**Caveats.** {experiment.caveats}",
        f"```\n{again(found)}\n```",
    ]
    return "\n\n".join(parts)


def _unfinished(experiment: Experiment, found: Record) -> Iterable[str]:
    done, of_all = len(found["runs"]), len(list(experiment.trials(found["size"], "")))
    if done < of_all:
        yield (
            f"**Unfinished.** {done} of {counted(of_all, 'run')} are done; the others "
            "can change the numbers and the verdict."
        )


def again(found: Record) -> str:
    """Returns the command that makes the runs."""
    words = [each for each in found["words"] if not each.startswith("--workdir=")]
    return command("experiment", found["experiment"], *map(_shown, words))


def _shown(word: str) -> str:
    """Leaves the path of the data's folder out, but not its name."""
    option, _, value = word.partition("=")
    return f"--data_dir={Path(value).name}" if option == "--data_dir" else word


def describe(comparison: rules.Comparison, outcome: rules.Outcome) -> str:
    """Writes a comparison and its outcome in one line."""
    sign = " / " if comparison.scale == "ratio" else " - "
    labels = [measures.label(each) for each in comparison.measures]
    what = f"{labels[0]}: {comparison.first}{sign}{comparison.second}"
    if comparison.is_paired:
        what = f"{comparison.first}: {sign.join(labels)}"
    limits = [
        f"{word} {limit:g}"
        for word, limit in (("above", comparison.above), ("below", comparison.below))
        if limit is not None
    ]
    text = f"{what} is {' and '.join(limits)}: {outcome.verdict}"
    if outcome.estimate is None:
        return f"{text} (not run, or unavailable here)"
    if not any(outcome.reached):
        return f"{text} (neither has reached it)"
    first, second = outcome.reached
    shown = "over " * (not first) + "under " * (not second) + number(outcome.estimate)
    if math.isinf(outcome.high) and outcome.low in (-math.inf, 0):  # 0: of a ratio
        return f"{text} ({shown}; no interval)"
    if not first:
        return f"{text} ({shown}, at least {number(outcome.low)})"
    if not second:
        return f"{text} ({shown}, at most {number(outcome.high)})"
    return f"{text} ({shown}, {number(outcome.low)} to {number(outcome.high)})"


def _table(experiment: Experiment, found: Record) -> Iterable[str]:
    numbers, taken = record.numbers(found), experiment.measured(found["size"])
    heads = map(measures.with_unit, taken)
    label = f"groups of {experiment.group}" if experiment.group else "runs"
    counts = found["groups"] if experiment.group else found["runs"]
    runs = Counter(run["variant"] for run in counts.values())
    diverged = Counter(run["variant"] for run in record.diverged(found).values())
    yield f"| variant | {' | '.join(heads)} | {label} |"
    yield "|---" * (len(taken) + 2) + "|"
    for variant in experiment.variants:
        if variant in numbers:
            own = numbers[variant]
            cells = [_cell(each, own.get(each, [])) for each in taken]
            count = f"{runs[variant]}"
            if diverged[variant]:
                count += f", {counted(diverged[variant], 'run')} diverged"
            yield f"| {variant} | {' | '.join(cells)} | {count} |"


def _diverged(found: Record) -> Iterable[str]:
    if lost := record.diverged(found):
        lines = [
            f"{name} ({run['variant']}, seed {run['seed']}), {run['diverged']}"
            for name, run in lost.items()
        ]
        yield (
            f"**Diverged.** {'; '.join(lines)}. The error of such a run counts as that "
            "of guessing."
        )


def _cell(measure: str, values: Sequence[rules.Value]) -> str:
    """Writes a mean and its 95 % interval, or "over" the mean of lower bounds."""
    if not values:
        return "unavailable"
    mean, low, high = measures.interval(measure, values)
    over = "over " * any(isinstance(value, rules.Bound) for value in values)
    if math.isinf(low) or over or low == high:  # one seed, or a count
        return f"{over}{number(mean)}"
    return f"{number(mean)} ({number(low)} to {number(high)})"


def _method(found: Record) -> Iterable[str]:
    runs = list(found["runs"].values())
    yield from _settings(found)
    for key, text in (("data", "Data"), ("device", "Device"), ("commit", "Commit")):
        yield f"{text}: {'; '.join(sorted({run[key] for run in runs}))}."
    if found["note"]:
        yield f"{found['note'].rstrip('.')}."
    time = counted(round(record.minutes(found)), "minute")
    yield f"Machine: {found['machine']}; {counted(len(runs), 'run')}, {time} in all."


def _settings(found: Record) -> Iterable[str]:
    given = [each for each in found["words"] if each.startswith("--config.")]
    replaced = {each.partition("=")[0] for each in given}
    if not found.get("variants"):
        yield "The settings are not in this old record; the command below adds them."
        return
    words = {variant: space.words_of(own) for variant, own in found["variants"].items()}
    first, *others = words.values()
    shared = [word for word in first if all(word in other for other in others)]
    for variant, of_variant in words.items():
        own = [word for word in of_variant if word not in shared]
        yield f"{variant}: `{shlex.join(own) or 'no other setting'}`;"
    shared = [word for word in shared if word.partition("=")[0] not in replaced]
    yield f"all: `{shlex.join([*shared, *given])}`."
