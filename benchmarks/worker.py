"""The side of a benchmark that computes: does what stdin asks for, and times it.

It runs in the environments of other programs too, and so needs nothing but Python.
"""

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from typing import Any

# What can be timed: does its work once, and returns when the work is done.
Pass = Callable[[], Any]
WARMUP_CALLS = 2


def cpu_seconds() -> float:
    """Returns the processor time of this process and of its worker processes."""
    total = time.process_time()
    for child in multiprocessing.active_children():
        with open(f"/proc/{child.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        # Fields 14 and 15 of proc(5): in the program and in the kernel, in ticks.
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def timed(work: Pass, num_calls: int) -> dict[str, float]:
    """Does the work so many times; returns the seconds that it took."""
    start, cpu_start = time.perf_counter(), cpu_seconds()
    for _ in range(num_calls):
        work()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "cpu_seconds": cpu_seconds() - cpu_start}


def serve(prepare: Callable[[dict], tuple[dict, dict[str, Pass]]]) -> None:
    """Answers the lines of ``rounds.Worker`` until they end.

    The first line is the case, and its answer what ``prepare`` tells of it, with the
    seconds of the first and of a later call of each pass. Each further line asks for
    ``num_calls`` of a ``pass``; the answer is what ``timed`` returns.

    Args:
      prepare: takes the case; returns what is to be told, and the passes by name.
    """
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(message: dict) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    facts, passes = prepare(json.loads(sys.stdin.readline()))
    first = {name: timed(work, 1)["seconds"] for name, work in passes.items()}
    later = {
        name: timed(work, WARMUP_CALLS)["seconds"] / WARMUP_CALLS
        for name, work in passes.items()
    }
    answer({**facts, "first_call_seconds": first, "call_seconds": later})
    for line in sys.stdin:
        request = json.loads(line)
        answer(timed(passes[request["pass"]], request["num_calls"]))
