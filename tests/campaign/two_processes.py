"""Two commands that start on one directory at the same time."""

import time
from collections.abc import Iterator, Sequence

from tests.campaign import launch
from tests.campaign.lab import Lab, Part, shown
from tests.campaign.table import Trial


def run(lab: Lab, numbers: Sequence[int]) -> Iterator[Trial]:
    """One of them trains to the right end; the other refuses, or finds it finished."""
    for number in numbers:
        generator = lab.generator("two", number)
        delay = float(generator.uniform(0, lab.seconds))
        workdir = lab.fresh("two")
        commands = []
        for index in range(2):
            output = lab.folder / "output" / f"two-{index}"
            words = lab.words(workdir)
            commands.append(launch.Command("train.py", *words, output=output))
            time.sleep(0 if index else delay)
        ended = [command.end() for command in commands]
        faults = [each.fault() for each in ended]
        fault = next(filter(None, faults), "")
        statuses = sorted(each.status for each in ended)
        if not fault and statuses not in ([0, 0], [0, 2]):
            fault = f"statuses {statuses}: {ended[0].err} {ended[1].err}"
        waited = "finished before" in "".join(each.out for each in ended)
        if not fault and statuses == [0, 0] and not waited:
            fault = "false success: both trained in one directory"
        fault = fault or lab.oracle.check(workdir)
        case = f"a second start after {delay:.2f} s"
        yield Trial(number, case, fault, shown(ended[0]) + " &" if fault else "")


PART = Part(
    "two",
    "the same command twice on one directory, the second at a random moment",
    (1, 10, 50),
    run,
)
