"""The table of all claims, with what is counted or published, and the verdicts."""

import gc
import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from cnn_arch.analysis import table
from cnn_arch.lectures.claim import judge, with_units
from cnn_arch.lectures.lenet_to_vgg import EARLY
from cnn_arch.lectures.nin_to_resnet import LATE
from cnn_arch.lectures.published import QUOTED
from cnn_arch.screen import Screen

CLAIMS = (*EARLY, *LATE)
Record = dict[str, Any]
# The other keys of a record have the numbers without their units, too.
WRITTEN = (
    "kind about text said counted published verdict reason protocol paper source"
).split()


def verdicts() -> Iterator[Record]:
    """Judges each claim and yields it as a record of plain values.

    ``reason`` is empty for a claim that is right. A list of one unit is for all the
    numbers. A record of the kind "published" comes after those of the kind "counted".
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
        }


def show_claims(form: str, screen: Screen) -> None:
    """Prints the claims, counts and verdicts in one of ``table.FORMATS``."""
    gc.disable()  # it would search the traced programs in vain, a tenth of the time
    try:
        found = list(verdicts())
    finally:
        gc.enable()
    if form == "json":
        print(json.dumps(found, indent=2))
        return
    for record in found:
        units = tuple(record["units"])
        has_numbers = not all(isinstance(value, str) for value in record["said"])
        for key in ("said", "counted", "published"):
            values = tuple(record[key])
            record[key] = ", ".join(with_units(values, units)) if values else ""
        record["numbers"] = record["said"] if has_numbers else ""
    if form in ("markdown", "csv"):
        printed = {key: [record[key] for record in found] for key in WRITTEN}
        write = table.to_markdown if form == "markdown" else table.plain_csv
        print(write(printed), end="")
        return
    counted = [record for record in found if record["kind"] == "counted"]
    for record in counted:
        _show(record, screen)
    quoted = found[len(counted) :]
    screen.row()
    screen.say("quoted", "published errors that lectures quote, beside their papers.")
    screen.say(
        "", "They are of ImageNet, but for one; no program here reproduces them."
    )
    screen.say("", "docs/results.md has the errors of networks trained here, on other")
    screen.say("", "data: LeNet-5 (MNIST) and ResNet-20 (CIFAR-10).")
    for record in quoted:
        _show(record, screen)
    _show_totals(counted, quoted, screen)


def _show(record: Record, screen: Screen) -> None:
    is_right = record["verdict"] in ("right", "as published")
    screen.row()
    screen.row(f"{record['about']}: {record['source']}")
    for label, text in (
        ("says", record["text"]),
        ("numbers", record["numbers"]),
        ("counted", record["counted"]),
        ("paper", record["published"]),
        ("of", record["protocol"]),
        ("in", record["paper"]),
        ("verdict", record["verdict"] if is_right else "* " + record["verdict"]),
        ("because", record["reason"]),
    ):
        for index, line in enumerate(
            textwrap.wrap(text, 80 - 11, break_on_hyphens=False)
        ):
            screen.say("" if index else f"  {label}", f"  {line}")


def _show_totals(
    counted: Sequence[Record], quoted: Sequence[Record], screen: Screen
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
