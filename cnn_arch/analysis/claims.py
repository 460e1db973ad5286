"""The lecture notes' numbers, all of them, judged."""

from collections.abc import Iterator
from typing import Any

from cnn_arch.analysis.claim import Verdict, judge
from cnn_arch.analysis.claims_early import EARLY
from cnn_arch.analysis.claims_late import LATE

CLAIMS = (*EARLY, *LATE)


def verdicts() -> Iterator[dict[str, Any]]:
    """Judges each claim; yields it as a record of plain values.

    A record has ``about``, ``text``, ``source``, ``said``, ``counted``, ``verdict``
    (``right``, ``wrong``, or ``wrong, slip found``) and, where it is wrong, ``reason``.
    """
    for claim in CLAIMS:
        found = judge(claim)
        yield {
            "about": claim.about,
            "text": claim.text,
            "source": claim.source,
            "said": list(claim.said),
            "counted": list(found.counted),
            "verdict": _word(found),
            "reason": "" if found.holds else claim.reason,
        }


def _word(found: Verdict) -> str:
    if found.holds:
        return "right"
    return "wrong, slip found" if found.explained else "wrong"
