"""Claims: statements about networks, compared with the program's own counts.

The lectures are CS231n (Stanford, 2017, lecture 9, and the course's notes at
https://cs231n.github.io/convolutional-networks), EECS 498-007 (Michigan, lectures 7 and
8) and "Dive into Deep Learning" (d2l.ai, chapter on modern CNNs, in its several
editions). A claim has a statement, its source, and a function that counts. If a
statement leaves open what to count, its text explains this after "here". The verdict is
computed when a claim is printed. For a wrong claim with a known slip, counting with the
slip must give the claim's numbers.
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
    """A statement about a network, and how to check it."""

    about: str  # the network
    text: str  # the statement, reworded
    source: str
    said: Counts  # its numbers, or words
    count: Callable[[], Counts]  # counts the same
    units: tuple[str, ...] = ()  # of each number; one: of all; M is 10^6, G 10^9
    precision: tuple[float, ...] | None = None  # the last digit printed; None: exact
    reason: str = ""  # why the count differs
    slip: Callable[[], Counts] | None = None  # repeats the source's mistake, if known


def judge(claim: Claim) -> tuple[Counts, str]:
    """Returns the counts and the verdict: right, wrong, or "wrong, slip found"."""
    counted = claim.count()
    if agree(claim, counted):
        return counted, "right"
    is_explained = claim.slip is not None and agree(claim, claim.slip())
    return counted, "wrong, slip found" if is_explained else "wrong"


def agree(claim: Claim, counted: Counts) -> bool:
    """Returns whether counts equal the claim's numbers, to the digits it prints."""
    precision = claim.precision or (0.0,) * len(claim.said)
    return len(counted) == len(claim.said) and all(
        is_same(said, own, digit)
        for said, own, digit in zip(claim.said, counted, precision, strict=True)
    )


def is_same(said: float | str, own: float | str, digit: float) -> bool:
    """Returns whether two values agree; numbers may differ by less than a digit."""
    if isinstance(said, str) or isinstance(own, str) or not digit:
        return said == own
    # The source may have rounded or truncated. MB and MiB would differ by more.
    return abs(own - said) < digit


def with_units(values: Counts, units: tuple[str, ...]) -> list[str]:
    """Writes values with their units, such as ``["802,816 bytes", "784 KiB"]``."""
    if len(units) < 2:
        units = (units or ("",)) * len(values)
    return [
        f"{_word(value)} {unit}".rstrip()
        for value, unit in zip(values, units, strict=True)
    ]


def _word(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.5g}"
