"""A statement about a network, and whether the program counts the same.

The lectures are CS231n (Stanford, 2017, lecture 9, and the course's notes at
https://cs231n.github.io/convolutional-networks), EECS 498-007 (Michigan, lectures 7 and
8) and "Dive into Deep Learning" (d2l.ai, chapter on modern CNNs, in its several
editions). A claim is data: what is said, where, and how to count it. Where it is left
open what to count, the text tells it after "here". Whether a claim holds is found when
it is printed. Where it does not, the slip is counted as well, if it is known: it must
give what is said.
"""

import dataclasses
from collections.abc import Callable

from cnn_arch.lectures.counts import Counts

CS231N = "CS231n 2017, lecture 9"
CS231N_NOTES = "CS231n, course notes on convolutional networks"
EECS498_7 = "EECS 498-007, lecture 7"
EECS498 = "EECS 498-007, lecture 8"
D2L = "d2l.ai, modern CNNs"
NOTES = "notes on one of these lectures"
FIELDS = "Araujo et al. 2019, google-research/receptive_field"


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement and what the program says of it.

    Attributes:
      about: the network.
      text: the statement, in words of our own.
      source: where it stands.
      said: its numbers, or words.
      count: counts the same.
      unit: the last digit that is printed; None: said to the last unit.
      reason: why the count differs.
      slip: counts the way that leads to what is said, where that is known.
    """

    about: str
    text: str
    source: str
    said: Counts
    count: Callable[[], Counts]
    unit: tuple[float, ...] | None = None
    reason: str = ""
    slip: Callable[[], Counts] | None = None


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
      counted: what the program counts.
      holds: it is what is said, to the digits that are printed.
      explained: the slip, counted, gives what is said.
    """

    counted: Counts
    holds: bool
    explained: bool


def judge(claim: Claim) -> Verdict:
    """Counts, and compares with what is said."""
    counted = claim.count()
    slip = claim.slip() if claim.slip else ()
    return Verdict(counted, agree(claim, counted), bool(slip) and agree(claim, slip))


def agree(claim: Claim, counted: Counts) -> bool:
    """Says whether numbers are those said, once rounded to the digits printed."""
    units = claim.unit or (0.0,) * len(claim.said)
    return len(counted) == len(claim.said) and all(
        _same(said, own, unit)
        for said, own, unit in zip(claim.said, counted, units, strict=True)
    )


def _same(said: float | str, own: float | str, unit: float) -> bool:
    if isinstance(said, str) or isinstance(own, str) or not unit:
        return said == own
    # Printed digits may have been rounded or cut; MB and GB of either kind differ more.
    return abs(own - said) < unit
