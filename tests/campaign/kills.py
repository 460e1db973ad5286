"""Kills and signals at random moments of train.py."""

import signal
import time
from collections.abc import Iterator, Sequence

from tests.campaign import launch
from tests.campaign.lab import Lab, Part, shown
from tests.campaign.table import Trial

# Three of four are kills; the others ask to stop, and the run must then save.
SIGNALS = signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP
SHARES = 0.75, 0.1, 0.1, 0.05
FREQUENT = "--config.checkpoint.every_minutes=0.0005"  # also saves within an epoch


def run(lab: Lab, numbers: Sequence[int]) -> Iterator[Trial]:
    """Stops a run one to three times, lets it end, and compares it."""
    for number in numbers:
        generator = lab.generator("kills", number)
        workdir, case, fault, command = lab.fresh("kills"), [], "", ""
        more = [FREQUENT] if generator.random() < 0.5 else []
        for _ in range(generator.integers(1, 4)):
            chosen = SIGNALS[generator.choice(len(SIGNALS), p=SHARES)]
            moment = float(generator.uniform(0, lab.seconds))
            case.append(f"{chosen.name} after {moment:.2f} s")
            output = lab.folder / "output" / workdir.name
            words = lab.words(workdir, *more)
            started = launch.Command("train.py", *words, output=output)
            time.sleep(moment)
            started.signal(chosen)
            ended = started.end()
            command = shown(ended)
            fault = _fault_of_stop(ended, chosen) or lab.oracle.check_steps(workdir)
            if fault or (ended.status == 0 and "saved." not in ended.out):
                break
        fault = fault or lab.finish(workdir)
        yield Trial(number, ", ".join(case + more), fault, command if fault else "")


def _fault_of_stop(ended: launch.Ended, chosen: signal.Signals) -> str:
    """A signal may end a command that has not begun to train; nothing else may."""
    if ended.status == -chosen:
        return ""
    if ended.status == 128 + signal.SIGINT and chosen == signal.SIGINT:
        return ""
    if ended.status == 128 + chosen and "saved." in ended.out:
        return ""
    return ended.fault()


PART = Part(
    "kills",
    "train.py killed or signalled up to three times at random moments, then repeated",
    (1, 20, 200),
    run,
)
