"""A long run: its memory, threads and open files stay what they were."""

import time
from collections.abc import Iterator, Sequence

import numpy as np
import psutil

from tests.campaign import launch
from tests.campaign.lab import Lab, Part, shown
from tests.campaign.table import Trial

STEPS_PER_EPOCH = 3500  # batches of one of mnist5k's training images
MAX_GROWTH = 16 * 2**20  # bytes between the third and the last fifth of the run
LIMIT_SECONDS = 3600


def run(lab: Lab, numbers: Sequence[int]) -> Iterator[Trial]:
    """Makes that many thousand steps; one trial is a run, and its number its length."""
    if not numbers:
        return
    num_steps = 1000 * len(numbers)
    workdir = lab.fresh("soak")
    words = (
        "--config=configs/lenet5.py",
        "--config.batch_size=1",
        f"--config.epochs={num_steps / STEPS_PER_EPOCH}",
        "--config.optim.learning_rate=0.001",
        "--config.checkpoint.every_minutes=0.05",
        f"--workdir={workdir}",
    )
    command = launch.Command("train.py", *words, output=lab.folder / "output" / "soak")
    samples = _watch(command, workdir / "steps.csv")
    ended = command.end(LIMIT_SECONDS)
    fault = ended.fault() or ("lost: " + ended.err if ended.status else "")
    fault = fault or _growth(samples)
    case = f"{num_steps:,} steps, {len(samples)} samples"
    if len(samples):
        case += f", {samples[-1, 0] / 2**20:.0f} MiB, {samples[-1, 1]:.0f} threads"
        case += f", {samples[-1, 2]:.0f} open files"
    yield Trial(numbers[0], case, fault, shown(ended) if fault else "")


def _watch(command: launch.Command, steps) -> np.ndarray:
    """Returns memory, threads and open files, sampled while the run trains: [N, 3]."""
    samples, deadline = [], time.monotonic() + LIMIT_SECONDS
    process = psutil.Process(command.process.pid)
    while command.process.exitcode is None and time.monotonic() < deadline:
        try:
            with process.oneshot():
                now = (
                    process.memory_info().rss,
                    process.num_threads(),
                    process.num_fds(),
                )
        except psutil.Error:
            break
        if steps.exists() and not (steps.parent / "weights_best.npz").exists():
            samples.append(now)
        time.sleep(0.2)
    return np.array(samples, float)


def _growth(samples: np.ndarray) -> str:
    """Returns what has grown; the first two fifths are the start."""
    if len(samples) < 10:
        return ""
    fifth = len(samples) // 5
    before = np.median(samples[2 * fifth : 3 * fifth], axis=0)
    after = np.median(samples[-fifth:], axis=0)
    names = "memory", "threads", "open files"
    for name, old, new, allowed in zip(
        names, before, after, (MAX_GROWTH, 0, 0), strict=True
    ):
        if new > old + allowed:
            return f"leak: {name} from {old:,.0f} to {new:,.0f}"
    return ""


PART = Part(
    "soak",
    "100,000 steps: memory, threads and open files stay flat (default: 10,000)",
    (0, 10, 100),
    run,
)
