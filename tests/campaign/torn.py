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


def unsynced(log: Sequence[Call]) -> dict[str, int]:
    """Returns the files with data after their last fsync, and their bytes before it.

    Names and deletions are assumed to be on the disk in their order, as a journal of
    metadata (ext4, XFS) keeps them. What an fsync has confirmed stays.
    """
    dirty: set[str] = set()
    safe: dict[str, int] = {}
    for call in log:
        if call.name in calls.WRITES or call.name.startswith("ftruncate"):
            dirty.add(call.path)
        elif call.name in SYNCS:
            dirty.discard(call.path)
            safe[call.path] = int(call.second or 0)
        elif call.name.startswith("rename"):
            old = call.second if os.path.isabs(call.second) else ""
            dirty.discard(call.path)
            safe.pop(call.path, None)
            for path in [p for p in {*dirty, *safe} if _is_in(p, old)]:
                new = call.path + path[len(old) :]
                if path in dirty:
                    dirty.remove(path)
                    dirty.add(new)
                if path in safe:
                    safe[new] = safe.pop(path)
    return {path: safe.get(path, 0) for path in dirty}


def _is_in(path: str, place: str) -> bool:
    return bool(place) and (path == place or path.startswith(f"{place}/"))


def tear(path: Path, safe: int, generator: np.random.Generator) -> str:
    """Leaves what a disk may have after the safe bytes: nothing, a part, or zeros."""
    size = path.stat().st_size
    kind = generator.choice(["empty", "half", "zeros"])
    kept = {"empty": safe, "half": (safe + size) // 2, "zeros": safe}[str(kind)]
    os.truncate(path, min(kept, size))
    if kind == "zeros":
        os.truncate(path, size)  # the system fills with zeros
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
        for name, safe in sorted(unsynced(done).items()):
            path = Path(name)
            if path.is_file() and not path.is_symlink() and generator.random() < 0.7:
                torn.append(
                    f"{path.relative_to(workdir)} {tear(path, safe, generator)}"
                )
        fault = lab.finish(workdir)
        case = f"power lost before call {call.number}; torn: {', '.join(torn) or '-'}"
        yield Trial(number, case[:400], fault, shown(ended) if fault else "")


PART = Part(
    "torn",
    "power loss at a random call: what follows the last fsync is lost, halved or zeros",
    (1, 20, 200),
    run,
    calls._obstacle,
)
