"""One side of a benchmark: a process that does the work that stdin names, and times it.

It also runs in the environments of other programs, so it imports only Python's own.
"""

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from typing import Any

# Does its work once, and returns when the work is done.
Pass = Callable[[], Any]
# Our heap grows in the first steps, and such a step takes up to 1.5 times as long.
WARMUP_CALLS = 2, 8  # at least and at most
WARMUP_SECONDS = 10  # after so long, at least is enough


def cpu_seconds() -> float:
    """Returns the processor time of this process and its worker processes."""
    total = time.process_time()
    for child in multiprocessing.active_children():
        with open(f"/proc/{child.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        # Fields 14 and 15 of proc(5): ticks in the program and in the kernel.
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def timed(work: Pass, num_calls: int) -> dict[str, float]:
    """Does the work ``num_calls`` times; returns the seconds of all together."""
    start, cpu_start = time.perf_counter(), cpu_seconds()
    for _ in range(num_calls):
        work()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "cpu_seconds": cpu_seconds() - cpu_start}


def warm_up(work: Pass) -> float:
    """Does the work before it is measured; returns the mean seconds of a call."""
    least, most = WARMUP_CALLS
    calls: list[float] = []
    while len(calls) < least or (len(calls) < most and sum(calls) < WARMUP_SECONDS):
        calls.append(timed(work, 1)["seconds"])
    return sum(calls) / len(calls)


def serve(prepare: Callable[[dict], tuple[dict, dict[str, Pass]]]) -> None:
    """Answers the requests of ``rounds.Worker``, a line of JSON each, until they end.

    The first line is the case; its answer is the facts, and the seconds of the first
    and of a later call of each pass. Each other line names a ``pass`` and its
    ``num_calls``; its answer is the result of ``timed``.

    Args:
      prepare: takes the case; returns the facts, and the passes by name. A fact that is
        a function is called after these calls.
    """
    # Prints of libraries go to stderr: they must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(message: dict) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    facts, passes = prepare(json.loads(sys.stdin.readline()))
    first = {name: timed(work, 1)["seconds"] for name, work in passes.items()}
    later = {name: warm_up(work) for name, work in passes.items()}
    facts = {key: each() if callable(each) else each for key, each in facts.items()}
    answer({**facts, "first_call_seconds": first, "call_seconds": later})
    for line in sys.stdin:
        request = json.loads(line)
        answer(timed(passes[request["pass"]], request["num_calls"]))
