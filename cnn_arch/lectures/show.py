"""The table of all claims, with what is counted or published, and the verdicts."""

import gc
import json
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cnn_arch.analysis import table
from cnn_arch.lectures.claim import judge, with_units
from cnn_arch.lectures.lenet_to_vgg import EARLY
from cnn_arch.lectures.nin_to_resnet import LATE
from cnn_arch.lectures.published import QUOTED
from cnn_arch.screen import Screen

CLAIMS = (*EARLY, *LATE)
Record = dict[str, Any]
# The verdicts of experiments, and how their numbers are written in one line.
TRIED = {
    "holds": "hold",
    "does not hold": "do not (*)",
    "not decided at this size": "not decided",
    "not run": "not run",
}
# The other keys of a record have the numbers without their units, too.
WRITTEN = (
    "kind about text said counted published verdict reason protocol paper source "
    "command"
).split()


def verdicts(tried: Iterable[Mapping[str, str]] = ()) -> Iterator[Record]:
    """Judges each claim and yields it as a record of plain values.

    ``reason`` is empty for a claim that is right. A list of one unit is for all the
    numbers. After the records of the kind "counted" come those of the kind "published",
    then those "tried": the experiments, which only have the keys of ``tried``.
    """
    for claim in CLAIMS:
        counted, verdict = judge(claim)
        yield {
            "about": claim.about,
            "text": claim.text,
            "source": claim.source,
            "said": list(claim.said),
            "counted": list(counted),
            "verdict": verdict,
            "reason": "" if verdict == "right" else claim.reason,
            "kind": "counted",
            "units": list(claim.units),
            "published": [],
            "protocol": "",
            "paper": "",
            "command": "",
        }
    for quoted in QUOTED:
        yield {
            "about": quoted.about,
            "text": quoted.text,
            "source": quoted.source,
            "said": list(quoted.said),
            "counted": [],
            "verdict": quoted.verdict,
            "reason": quoted.reason,
            "kind": "published",
            "units": list(quoted.units),
            "published": list(quoted.published),
            "protocol": quoted.protocol,
            "paper": quoted.paper,
            "command": "",
        }
    for each in tried:
        numbers = {key: [] for key in ("said", "counted", "units", "published")}
        words = {"reason": "", "paper": ""}
        yield {**numbers, **words, **each, "kind": "tried"}


def show_claims(
    form: str, screen: Screen, tried: Iterable[Mapping[str, str]] = ()
) -> None:
    """Prints the claims, counts and verdicts in one of ``table.FORMATS``.

    ``tried`` has the experiments, as ``verdicts`` takes them.
    """
    gc.disable()  # it would search the traced programs in vain, a tenth of the time
    try:
        found = list(verdicts(tried))
    finally:
        gc.enable()
    if form == "json":
        print(json.dumps(found, indent=2))
        return
    for record in found:
        _write_numbers(record)
    if form in ("markdown", "csv"):
        printed = {key: [record[key] for record in found] for key in WRITTEN}
        write = table.to_markdown if form == "markdown" else table.plain_csv
        print(write(printed), end="")
        return
    counted, quoted, experiments = (
        [record for record in found if record["kind"] == kind]
        for kind in ("counted", "published", "tried")
    )
    for record in counted:
        _show(record, screen)
    screen.row()
    screen.say("quoted", "published errors that lectures quote, beside their papers.")
    screen.say(
        "", "They are of ImageNet, but for one; no program here reproduces them."
    )
    screen.say("", "docs/results.md has the errors of networks trained here, on other")
    screen.say("", "data: LeNet-5 (MNIST) and ResNet-20 (CIFAR-10).")
    for record in quoted:
        _show(record, screen)
    screen.row()
    screen.say("tried", "what cannot be counted: each is an experiment that trains")
    screen.say("", "networks, and computes its verdict (docs/experiments.md).")
    for record in experiments:
        _show(record, screen)
    _show_totals(counted, quoted, experiments, screen)


def table_of_counts() -> tuple[str, str]:
    """Returns what the counts say of the claims: one sentence, and a Markdown table."""
    records = [record for record in verdicts() if record["kind"] == "counted"]
    for record in records:
        _write_numbers(record)
    right = sum(record["verdict"] == "right" for record in records)
    columns = {"network": "about", "statement": "text", "source": "source"}
    columns |= {"counted": "counted", "verdict": "verdict", "because": "reason"}
    cells = {head: [record[key] for record in records] for head, key in columns.items()}
    sentence = f"Of {len(records)} statements that are counted, {right} are right."
    return sentence, table.to_markdown(cells)


def _write_numbers(record: Record) -> None:
    """Replaces the numbers of a record by text with their units."""
    units = tuple(record["units"])
    has_numbers = not all(isinstance(value, str) for value in record["said"])
    for key in ("said", "counted", "published"):
        values = tuple(record[key])
        record[key] = ", ".join(with_units(values, units)) if values else ""
    record["numbers"] = record["said"] if has_numbers else ""


def _show(record: Record, screen: Screen) -> None:
    is_wrong = record["verdict"].startswith(("wrong", "not as", "does not"))
    screen.row()
    heading = f"{record['about']}: {record['source']}"
    for line in textwrap.wrap(heading, 80, subsequent_indent="  "):
        screen.row(line)
    for label, text in (
        ("says", record["text"]),
        ("numbers", record["numbers"]),
        ("counted", record["counted"]),
        ("paper", record["published"]),
        ("of", record["protocol"]),
        ("in", record["paper"]),
        ("verdict", "* " * is_wrong + record["verdict"]),
        ("because", record["reason"]),
        ("try", record["command"]),
    ):
        for index, line in enumerate(
            textwrap.wrap(text, 80 - 11, break_on_hyphens=False)
        ):
            screen.say("" if index else f"  {label}", f"  {line}")


def _show_totals(
    counted: Sequence[Record],
    quoted: Sequence[Record],
    tried: Sequence[Record],
    screen: Screen,
) -> None:
    right = sum(record["verdict"] == "right" for record in counted)
    slips = sum(record["verdict"].endswith("found") for record in counted)
    same = sum(record["verdict"] == "as published" for record in quoted)
    screen.row()
    screen.say(
        "in all",
        f"{len(counted)} statements: {right} right, {len(counted) - right} not (*), "
        f"of these {slips} with their slip",
        last=True,
    )
    text = f"{len(quoted)} published results: {same} as in their papers"
    screen.say("", f"{text}, {len(quoted) - same} not (*)", last=True)
    found = Counter(record["verdict"] for record in tried)
    parts = [f"{found[verdict]} {words}" for verdict, words in TRIED.items()]
    screen.say("", f"{len(tried)} experiments: {', '.join(parts)}", last=True)
