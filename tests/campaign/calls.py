"""Kills and errors at each file-system call of a run, by shim.c."""

import errno
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.campaign.lab import Call, Lab, Part, read_log, shown
from tests.campaign.launch import KILL, KILL_IN_THE_MIDDLE, Ended, Plan
from tests.campaign.table import Trial

ERRORS = errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EINTR, errno.EROFS
WRITES = "write", "writev", "pwrite", "pwrite64"


@functools.cache
def calls_of_a_run(lab: Lab) -> list[Call]:
    """Returns the calls of an undisturbed run below its directory."""
    workdir, log = lab.fresh("counted"), lab.folder / "counted.log"
    log.unlink(missing_ok=True)
    ended = lab.train(workdir, plan=Plan(workdir, log))
    assert ended.status == 0, ended.err
    return read_log(log)


@functools.cache
def calls_of_the_end(lab: Lab) -> list[Call]:
    """Returns the calls from the last save of the half-done run to its end.

    They have the deletion of an old step among them.
    """
    workdir, log = lab.copy(lab.half_done, "counted"), lab.folder / "counted.log"
    log.unlink(missing_ok=True)
    ended = lab.train(workdir, plan=Plan(workdir, log))
    assert ended.status == 0, ended.err
    calls = read_log(log)
    saving = [call.number for call in calls if ".orbax-checkpoint-tmp" in call.path]
    return calls[min(saving) - 1 :]


def _count_kills(lab: Lab) -> int:
    return len(calls_of_a_run(lab))


def _count_errors(lab: Lab) -> int:
    return len(ERRORS) * len(calls_of_the_end(lab))


def run_kills(lab: Lab, numbers: Sequence[int]) -> Iterator[Trial]:
    """Kills train.py before a call, or in the middle of a write, and repeats it."""
    calls = calls_of_a_run(lab)
    for number in numbers:
        generator = lab.generator("calls", number)
        call = calls[_chosen(lab, number, len(calls))]
        in_the_middle = call.name in WRITES and generator.random() < 0.5
        action = KILL_IN_THE_MIDDLE if in_the_middle else KILL
        workdir, log = lab.fresh("calls"), lab.folder / "call.log"
        ended = _disturb(lab, workdir, log, call, action)
        fault = "" if ended.status in (0, -9) else ended.fault()
        fault = fault or lab.oracle.check_steps(workdir) or lab.finish(workdir)
        how = "killed in the middle of" if in_the_middle else "killed before"
        yield _trial(number, f"{how} {_last(log, call, workdir)}", fault, ended)


def run_errors(lab: Lab, numbers: Sequence[int]) -> Iterator[Trial]:
    """Lets one call of the last save, or after it, fail; then repeats the command."""
    calls = calls_of_the_end(lab)
    total = _count_errors(lab)
    for number in numbers:
        chosen = _chosen(lab, number, total)
        call, error = calls[chosen // len(ERRORS)], ERRORS[chosen % len(ERRORS)]
        workdir = lab.copy(lab.half_done, "errors")
        log = lab.folder / "error.log"
        ended = _disturb(lab, workdir, log, call, error)
        fault = ended.fault() or lab.oracle.check_steps(workdir)
        if not fault and ended.status == 0:  # the error was overcome, or is harmless
            fault = _success(lab, workdir, ended)
        fault = fault or lab.finish(workdir)
        case = f"{errno.errorcode[error]} at {_last(log, call, workdir)}"
        yield _trial(number, case, fault, ended)


def _chosen(lab: Lab, number: int, total: int) -> int:
    """Returns a place in a random order: few trials are spread, all take each once."""
    order = lab.generator("order", total).permutation(total)
    return int(order[number % total])


def _success(lab: Lab, workdir: Path, ended: Ended) -> str:
    """Returns why status 0 is wrong; leftovers with a warning are allowed."""
    fault = lab.oracle.check(workdir)
    if fault and "warning: " in ended.err and not fault.startswith("listed"):
        return ""
    return f"false success: {fault}" if fault else ""


def _disturb(lab: Lab, workdir: Path, log: Path, call: Call, action: int) -> Ended:
    log.unlink(missing_ok=True)
    return lab.train(workdir, plan=Plan(workdir, log, call.number, action))


def _last(log: Path, call: Call, workdir: Path) -> str:
    """Returns the call that was really met; threads may change the order."""
    met = [each for each in read_log(log) if each.number == call.number]
    return f"call {call.number}, " + (met[0].describe(workdir) if met else "not met")


def _trial(number: int, case: str, fault: str, ended: Ended) -> Trial:
    return Trial(number, case, fault, f"{shown(ended)}  # {case}" if fault else "")


def _obstacle(lab: Lab) -> str:
    return "" if lab.shim else "no C compiler (cc) for Linux here"


KILLS = Part(
    "calls",
    "train.py killed before or in each of its file-system calls, then repeated",
    (1, 40, 600),
    run_kills,
    _obstacle,
    _count_kills,
)
ERRORS_PART = Part(
    "errors",
    "ENOSPC, EIO, EDQUOT, EINTR or EROFS from each call of a save and what follows it",
    (1, 40, 1500),
    run_errors,
    _obstacle,
    _count_errors,
)
