"""Times the passes of one worker, which take turns."""

import argparse
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import rounds


def time_passes(
    worker: rounds.Worker,
    facts: Mapping[str, Any],
    options: argparse.Namespace,
    what: str,
) -> dict[str, list[float]]:
    """Returns the seconds of a call of each pass, in each round.

    ``facts`` are the worker's; a turn lasts at least ``options.seconds``.
    """

    def turn(name: str, calls: int) -> float:
        return worker.ask({"pass": name, "num_calls": calls})["seconds"] / calls

    turns = {
        name: partial(turn, name, rounds.num_calls(seconds, options.seconds))
        for name, seconds in facts["call_seconds"].items()
    }
    return rounds.take_turns(turns, options.rounds, what)


def time_two_steps(
    words: Sequence[str], changed: Sequence[str], options: argparse.Namespace, what: str
) -> tuple[list[float], list[float]]:
    """Returns the seconds of a recipe's step in each round, and those with a change."""
    case = {"words": list(words), "changed": list(changed)}
    with ExitStack() as stack:
        worker = rounds.our_worker("two_steps")
        facts = rounds.open_side(stack, "cnn_arch", worker, case)
        measured = time_passes(worker, facts, options, what)
    return measured["plain"], measured["changed"]
