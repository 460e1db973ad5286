"""The table of all claims, with what is counted and the verdicts."""

import json
import textwrap
from collections.abc import Iterator
from typing import Any

from cnn_arch.analysis import table
from cnn_arch.lectures.claim import judge
from cnn_arch.lectures.lenet_to_vgg import EARLY
from cnn_arch.lectures.nin_to_resnet import LATE
from cnn_arch.screen import Screen

CLAIMS = (*EARLY, *LATE)


def verdicts() -> Iterator[dict[str, Any]]:
    """Judges each claim and yields it as a record of plain values.

    ``reason`` is empty for a claim that is right.
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
        }


def show_claims(form: str, screen: Screen) -> None:
    """Prints the claims, counts and verdicts in one of ``table.FORMATS``."""
    found = list(verdicts())
    if form == "json":
        print(json.dumps(found, indent=2))
        return
    printed = {
        key: [_words(record[key]) for record in found]
        for key in ("about", "text", "said", "counted", "verdict", "reason", "source")
    }
    if form == "markdown":
        print(table.to_markdown(printed), end="")
        return
    if form == "csv":
        print(table.plain_csv(printed), end="")
        return
    for record in found:
        screen.row()
        screen.row(f"{record['about']}: {record['source']}")
        mark = "" if record["verdict"] == "right" else "* "
        for label, text in (
            ("says", record["text"]),
            ("counted", _words(record["counted"])),
            ("verdict", mark + record["verdict"]),
            ("because", record["reason"]),
        ):
            for index, line in enumerate(textwrap.wrap(text, 80 - 11)):
                screen.say("" if index else f"  {label}", f"  {line}")
    right = sum(record["verdict"] == "right" for record in found)
    slips = sum(record["verdict"].endswith("found") for record in found)
    screen.row()
    screen.say(
        "in all",
        f"{len(found)} statements: {right} right, {len(found) - right} not (*), of "
        f"these {slips} with their slip",
        last=True,
    )


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    if isinstance(value, float):
        return f"{value:,.5g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
