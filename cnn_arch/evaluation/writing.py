"""The turn of a command to write results to the directory of a run."""

from collections.abc import Iterator
from contextlib import contextmanager

from cnn_arch.lock import Lock
from cnn_arch.run_directory import Run

WAIT_SECONDS = 600.0  # many times what the drawing takes


@contextmanager
def own_turn(run: Run) -> Iterator[None]:
    """Waits until no other command writes results there, and keeps others waiting.

    Two evaluations of a run at the same time would lose one's entry of results.json.

    Raises:
      UsageError: another command has written for too long.
    """
    run.check(now=True)
    folder = run.workdir / "eval"
    folder.mkdir(exist_ok=True)
    with Lock(folder / "results.lock", fix="end that process") as lock:
        lock.take(run.screen.warn, WAIT_SECONDS)
        yield
