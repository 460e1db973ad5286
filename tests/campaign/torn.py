"""What a power loss leaves: files that were not forced onto the disk are torn."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tests.campaign import calls
from tests.campaign.lab import Call, Lab, Part, read_log, shown
from tests.campaign.launch import KILL, Plan
from tests.campaign.table import Trial

SYNCS = "fsync", "fdatasync"


def unsynced(log: Sequence[Call]) -> set[str]:
    """Returns the files with data that was written after their last fsync.

    Names and deletions are assumed to be on the disk in their order, as a journal of
    metadata (ext4, XFS) keeps them.
    """
    dirty: set[str] = set()
    for call in log:
        if call.name in calls.WRITES or call.name.startswith("ftruncate"):
            dirty.add(call.path)
        elif call.name in SYNCS:
            dirty.discard(call.path)
        elif call.name.startswith("rename"):
            old = call.second if os.path.isabs(call.second) else ""
            moved = {
                path for path in dirty if path == old or path.startswith(f"{old}/")
            }
            dirty.discard(call.path)
            dirty -= moved
            dirty |= {call.path + path[len(old) :] for path in moved}
    return dirty


def tear(path: Path, generator: np.random.Generator) -> str:
    """Leaves of a file what a disk may have of it: nothing, a part, or zeros."""
    size = path.stat().st_size
    kind = generator.choice(["empty", "half", "zeros"])
    if kind == "zeros":
        path.write_bytes(bytes(size))
    else:
        os.truncate(path, size // 2 if kind == "half" else 0)
    return str(kind)


def run(lab: Lab, numbers: Sequence[int]) -> Iterator[Trial]:
    """Kills a run at a call, tears what is not surely on the disk, and repeats it."""
    all_calls = calls.calls_of_a_run(lab)
    for number in numbers:
        generator = lab.generator("torn", number)
        call = all_calls[generator.integers(len(all_calls))]
        workdir, log = lab.fresh("torn"), lab.folder / "torn.log"
        log.unlink(missing_ok=True)
        ended = lab.train(workdir, plan=Plan(workdir, log, call.number, KILL))
        done = [each for each in read_log(log) if each.number < call.number]
        torn = []
        for name in sorted(unsynced(done)):
            path = Path(name)
            if path.is_file() and not path.is_symlink() and generator.random() < 0.7:
                torn.append(f"{path.relative_to(workdir)} {tear(path, generator)}")
        fault = lab.finish(workdir)
        case = f"power lost before call {call.number}; torn: {', '.join(torn) or '-'}"
        yield Trial(number, case[:400], fault, shown(ended) if fault else "")


PART = Part(
    "torn",
    "power loss at a random call: files without fsync are empty, halved or zeros",
    (1, 20, 200),
    run,
    calls._obstacle,
)
