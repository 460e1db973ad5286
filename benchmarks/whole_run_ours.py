"""Runs train.py with a clock for each kind of work, for whole_run.py.

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

BARE_SECONDS = 10.0  # of bare steps, before the run and after it
# The work of the main thread in ``Trainer.fit``: classes and their methods.
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
    """Returns the function with a clock; of nested calls the outermost counts."""

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
    """Returns ``Trainer.fit`` that also times the bare training step."""

    def call(self: Trainer) -> None:
        program = self.program
        with closing(self.batches.iterate(0, 1)) as batches:
            batch = put_batch(next(batches), program.mesh)
        state = program.initialise()

        def step() -> None:
            nonlocal state
            state, metrics = program.train_step(state, batch)
            jax.block_until_ready(metrics)

        def time_bare_steps() -> None:
            step()  # warms up
            start, passed = time.perf_counter(), 0.0
            while passed < BARE_SECONDS:
                step()
                passed = time.perf_counter() - start
                seconds["number of bare steps"] += 1
            seconds["bare steps"] += passed

        time_bare_steps()
        fit(self)
        time_bare_steps()

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
