"""Attack files: refused in one line, in bounded time and memory, without effects."""

import shutil
from collections.abc import Iterator, Sequence

from tests.campaign import (
    attack_folders,  # noqa: F401 - adds to ATTACKS
    launch,
)
from tests.campaign.attack_files import ATTACKS
from tests.campaign.lab import Lab, Part
from tests.campaign.launch import Ended
from tests.campaign.table import Trial

MAX_BYTES = 2 * 2**30  # of memory; a usual command takes half a GiB
SECONDS = 60


def run(lab: Lab, numbers: Sequence[int]) -> Iterator[Trial]:
    """Makes each file and gives it to a command."""
    for number in numbers:
        attack = ATTACKS[number % len(ATTACKS)]
        folder = lab.fresh("attacks")
        folder.mkdir(parents=True)
        program, *words = attack.make(lab, folder)
        output = lab.folder / "output" / "attacks"
        started = launch.Command(program, *words, output=output)
        ended = started.end(SECONDS)
        fault = _fault(ended, attack.may_succeed)
        if not fault and (folder / "canary").exists():
            fault = "executed: the file's code has run"
        command = f"python -m tests.campaign --only=attacks --trial={number}"
        yield Trial(number, attack.name, fault, command if fault else "")
        shutil.rmtree(folder, ignore_errors=True)


def _fault(ended: Ended, may_succeed: bool) -> str:
    """Returns what is wrong with the answer to an attack."""
    if fault := ended.fault():
        return fault
    if ended.status == 0 and not may_succeed:
        return "false success: accepted"
    if ended.peak_bytes > MAX_BYTES:
        return f"memory: {ended.peak_bytes / 2**20:,.0f} MiB"
    said = ended.out + ended.err
    controls = {char for char in said if not char.isprintable()} - {"\n"}
    if controls:
        return f"control characters on the screen: {sorted(controls)}"
    if ended.errors and len(ended.errors[0]) > 1000:
        return f"line of {len(ended.errors[0]):,} characters"
    return ""


PART = Part(
    "attacks",
    "files made to run code, to fill memory, to hang or to mislead",
    (5, len(ATTACKS), len(ATTACKS)),
    run,
)
