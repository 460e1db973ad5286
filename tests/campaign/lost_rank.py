"""A run of two processes of which one is killed."""

import functools
import shutil
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.campaign import launch
from tests.campaign.lab import Lab, Part, shown, wait_for_rows
from tests.campaign.oracle import Oracle
from tests.campaign.table import Trial

NUM_PROCESSES = 2
ANOTHER = "another task died"
NOTICE_SECONDS = 90  # until the others have noticed and ended


@functools.cache
def oracle(lab: Lab) -> Oracle:
    """Returns the undisturbed run of two processes: other sums, so other bits."""
    workdir = lab.folder / "reference-2"
    if not (workdir / "report.html").exists():
        shutil.rmtree(workdir, ignore_errors=True)
        for command in start(lab, workdir):
            ended = command.end()
            assert ended.status == 0, ended.err
    return Oracle(workdir)


def start(lab: Lab, workdir: Path) -> list[launch.Command]:
    """Starts both processes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    given = f"--coordinator=localhost:{port}", f"--num_processes={NUM_PROCESSES}"
    return [
        launch.Command(
            "train.py",
            *lab.words(workdir, *given, f"--process_id={index}"),
            output=lab.folder / "output" / f"{workdir.name}-{index}",
        )
        for index in range(NUM_PROCESSES)
    ]


def run(lab: Lab, numbers: Sequence[int]) -> Iterator[Trial]:
    """Kills one of two processes; the other must end and say why."""
    wanted = oracle(lab)
    for number in numbers:
        generator = lab.generator("rank", number)
        victim, moment = int(generator.integers(2)), float(generator.uniform(0, 1))
        workdir = lab.fresh("rank")
        commands = start(lab, workdir)
        try:
            wait_for_rows(workdir / "metrics.csv", 1, commands[0])
            time.sleep(moment)
            commands[victim].signal(signal.SIGKILL)
        except AssertionError:
            pass  # it ended by itself: judged below
        ended = [command.end(NOTICE_SECONDS) for command in commands]
        other = ended[1 - victim]
        # JAX itself ends the others when process 0 is gone, and says so.
        is_told = other.status == -signal.SIGABRT and ANOTHER in other.err
        fault = "" if is_told else other.fault()
        if not fault and other.status == 0 and victim == 0:
            fault = "false success: process 0 was killed and process 1 ended with 0"
        fault = fault or wanted.check_steps(workdir)
        if not fault:
            again = [command.end() for command in start(lab, workdir)]
            faults = [each.fault() or each.err * bool(each.status) for each in again]
            fault = next(filter(None, faults), "") or wanted.check(workdir)
        case = f"process {victim} killed {moment:.2f} s after the first epoch"
        yield Trial(number, case, fault, shown(other) if fault else "")


PART = Part(
    "rank",
    "one of two processes killed, then both repeated",
    (0, 3, 20),
    run,
)
