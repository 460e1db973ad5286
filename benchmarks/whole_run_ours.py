"""This project's side of whole_run.py: train.py, with a clock for each kind of work.

python benchmarks/whole_run_ours.py RESULT.json --config=... --workdir=...
"""

import json
import runpy
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import jax

from cnn_arch.checkpoints.checkpoint import Checkpoints
from cnn_arch.evaluation.record import Validation
from cnn_arch.parallel.mesh import put_batch
from cnn_arch.screen import Progress
from cnn_arch.training.loop import Trainer
from cnn_arch.training.metrics import Metrics

BARE_SECONDS = 10.0  # of steps alone, before the run and after it
# What the main thread does in ``Trainer.fit``.
CLOCKED: dict[str, list[tuple[Any, tuple[str, ...]]]] = {
    "run": [(Trainer, ("fit",))],
    "steps": [(Trainer, ("_train",))],
    "validation": [(Validation, ("__call__",))],
    "checkpoints": [(Trainer, ("_save",)), (Checkpoints, ("close",))],
    "logging": [
        (Trainer, ("_say",)),
        (Metrics, ("__init__", "add_step", "add_epoch", "draw", "sync", "close")),
        (Progress, ("advance",)),
    ],
}

seconds: defaultdict[str, float] = defaultdict(float)
running: set[str] = set()


def clocked(function: Callable[..., Any], kind: str) -> Callable[..., Any]:
    """Returns the function, with its seconds counted; of nested ones, the outermost."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if kind in running:
            return function(*args, **kwargs)
        running.add(kind)
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[kind] += time.perf_counter() - start
            running.discard(kind)

    return call


def with_bare_steps(fit: Callable[[Trainer], None]) -> Any:
    """Returns ``Trainer.fit``, with the bare training step timed before and after."""

    def call(self: Trainer) -> None:
        program = self.program
        with closing(self.batches.iterate(0, 1)) as batches:
            batch = put_batch(next(batches), program.mesh)
        state = program.initialise()

        def bare_steps(at_least_seconds: float) -> tuple[float, int]:
            nonlocal state
            start, count, passed = time.perf_counter(), 0, 0.0
            while not count or passed < at_least_seconds:
                state, metrics = program.train_step(state, batch)
                jax.block_until_ready(metrics)
                count, passed = count + 1, time.perf_counter() - start
            return passed, count

        for work in (lambda: None, lambda: fit(self)):
            work()
            bare_steps(0.0)  # warms up
            passed, count = bare_steps(BARE_SECONDS)
            seconds["bare steps"] += passed
            seconds["number of bare steps"] += count

    return call


def main(result: Path, words: list[str]) -> None:
    """Runs train.py and writes the seconds of each kind of work."""
    for kind, places in CLOCKED.items():
        for owner, names in places:
            for name in names:
                setattr(owner, name, clocked(getattr(owner, name), kind))
    Trainer.fit = with_bare_steps(Trainer.fit)
    sys.argv = ["train.py", *words]
    try:
        runpy.run_path("train.py", run_name="__main__")
    finally:
        result.write_text(json.dumps(seconds))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
