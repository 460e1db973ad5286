"""The epochs of a run: steps, validation, checkpoints, and what is told of them."""

import collections
import dataclasses
import json
import math
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cnn_arch import settings
from cnn_arch.checkpoints.checkpoint import Checkpoints
from cnn_arch.checkpoints.state import TrainState
from cnn_arch.data.loading import TrainBatches
from cnn_arch.data.sources import Source
from cnn_arch.errors import RunError
from cnn_arch.evaluation.one_crop import EvalStep, evaluate
from cnn_arch.ops.loops import unrolled
from cnn_arch.parallel import processes
from cnn_arch.parallel.mesh import put_batch
from cnn_arch.screen import Progress, Screen, clock
from cnn_arch.training.metrics import Metrics, Unwritten
from cnn_arch.training.step import TrainStep
from cnn_arch.training.stopping import StoppedError, StopRequest, stop_request

MAX_WAIT_SHARE = 0.2  # of an epoch: more waiting for images is worth a warning
NUM_EPOCHS_TO_LEARN = 5  # after which a loss of guessing is worth one
STEPS_AHEAD = 2  # steps that the device has waiting while a metric is read
SAVE_IS_DUE = 1  # what a process says besides signals' numbers, which begin at 2


@dataclasses.dataclass
class Job:
    """What the loop works with.

    Attributes:
      config: of the run.
      workdir: its directory.
      screen: where it is told.
      mesh: the devices.
      batches: to train on.
      validation: the split that chooses the best checkpoint.
      num_classes: of the data.
      train_step: compiled.
      eval_step: compiled.
      checkpoints: of the run.
      skipped: names of the images that could not be read.
    """

    config: ConfigDict
    workdir: Path
    screen: Screen
    mesh: Mesh
    batches: TrainBatches
    validation: Source
    num_classes: int
    train_step: TrainStep
    eval_step: EvalStep
    checkpoints: Checkpoints
    skipped: set[str]

    @property
    def num_steps(self) -> int:
        """Updates in the whole run."""
        return round(self.config.epochs * self.batches.steps_per_epoch)


def fit(job: Job, state: TrainState) -> None:
    """Trains from a state to the end of the run; the checkpoints hold the result.

    Raises:
      RunError: the loss is not finite, or a checkpoint could not be saved.
      StoppedError: a signal asked to stop; the state is saved.
    """
    step, steps_per_epoch = int(state.step), job.batches.steps_per_epoch
    kind = Metrics if jax.process_index() == 0 else Unwritten
    with (
        closing(kind(job.workdir, step, steps_per_epoch)) as metrics,
        closing(job.batches.iterate(step, job.num_steps)) as batches,
        stop_request() as stop,
    ):
        job.screen.row()
        job.screen.row(
            "epoch  train loss  val loss  val top-1       lr     img/s    time"
        )
        while step < job.num_steps:
            start, first_step = time.monotonic(), step
            step = min((step // steps_per_epoch + 1) * steps_per_epoch, job.num_steps)
            state, wait_seconds = _train(job, state, step, batches, metrics, stop)
            num_images = (step - first_step) * job.config.batch_size
            images_per_second = num_images / (time.monotonic() - start)
            validation = _validate(job, state)
            rows = metrics.add_epoch(
                step,
                validation,
                images_per_second=round(images_per_second, 1),
                seconds=round(time.monotonic() - start, 2),
                input_wait_seconds=round(wait_seconds, 3),
            )
            _save(job, state, validation["top1_error"])
            if rows:
                _tell(job, rows)
                _advise(job, rows, wait_seconds)
            metrics.draw(last=step == job.num_steps)
            asked = int(processes.largest(stop.number))
            if asked and step < job.num_steps:
                job.checkpoints.close()
                raise StoppedError(asked, step)
    job.checkpoints.close()


def _train(
    job: Job,
    state: TrainState,
    end: int,
    batches: Iterator[dict[str, np.ndarray]],
    metrics: Metrics | Unwritten,
    stop: StopRequest,
) -> tuple[TrainState, float]:
    """Makes the steps up to ``end``; returns the state and the wait for input.

    Processes agree on the step to save or to stop after: with each step they compare
    what they ask for, and each reads the result as late as the step's metrics.
    """
    step, alone = int(state.step), jax.process_count() == 1
    running: collections.deque[tuple[int, Any, Any]] = collections.deque()
    wait_seconds, last_saved = 0.0, time.monotonic()

    def read(num_left: int, progress: Progress) -> int:
        """Reads all but so many of the steps; returns what was asked for with them."""
        asked = 0
        while len(running) > num_left:
            number, on_device, asked_then = running.popleft()
            asked = max(asked, int(asked_then))
            values = {key: float(x) for key, x in jax.device_get(on_device).items()}
            if not all(map(math.isfinite, values.values())):
                raise _not_finite(job, metrics, number, values)
            metrics.add_step(number, values)
            progress.advance(f"loss {values['loss']:.3f}")
        return asked

    label = f"epoch {(end - 1) // job.batches.steps_per_epoch + 1}"
    with job.screen.progress(label, end - step) as progress:
        while step < end:
            start = time.monotonic()
            batch = next(batches)
            wait_seconds += time.monotonic() - start
            state, on_device = job.train_step(state, put_batch(batch, job.mesh))
            step += 1
            minutes = (time.monotonic() - last_saved) / 60
            is_due = minutes > job.config.checkpoint.every_minutes
            own = stop.number or SAVE_IS_DUE * is_due
            running.append((step, on_device, processes.largest(own)))
            asked = read(STEPS_AHEAD if step < end else 0, progress)
            asked = own if alone else asked  # at once, where none need be waited for
            if step < end and asked:
                read(0, progress)  # who asks for more will do so again
                metrics.sync()
                _save(job, state, None)
                last_saved = time.monotonic()
                if asked != SAVE_IS_DUE:
                    job.checkpoints.close()
                    raise StoppedError(asked, step)
    return state, wait_seconds


def _validate(job: Job, state: TrainState) -> dict[str, float]:
    num_batches = -(-len(job.validation) // job.config.batch_size)
    with job.screen.progress("validate", num_batches) as progress:
        return evaluate(
            job.eval_step,
            state.params,
            state.batch_stats,
            job.validation,
            job.config,
            job.mesh,
            advance=progress.advance,
            skipped=job.skipped,
        ).summary()


def _save(job: Job, state: TrainState, validation_error: float | None) -> None:
    job.checkpoints.save(
        unrolled(state),
        config=json.loads(settings.to_json(job.config)),
        epoch=int(state.step) / job.batches.steps_per_epoch,
        validation_error=validation_error,
    )


def _tell(job: Job, rows: list[dict[str, Any]]) -> None:
    """Prints the newest row of the epoch table; ``*`` marks the least error so far."""
    row = rows[-1]
    errors = [float(row["validation_top1_error"]) for row in rows]
    star = "*" if errors[-1] == min(errors) else " "
    job.screen.row(
        f"{row['epoch']:>5.4g}  {row['train_loss']:>10.3f}  "
        f"{_short(row['validation_loss']):>8}  {100 - errors[-1]:>7.1f} %{star} "
        f"{row['learning_rate']:>7.2g}  {row['images_per_second']:>8,.0f}  "
        f"{clock(row['seconds']):>6}"
    )


def _short(loss: float) -> str:
    return f"{loss:.3f}" if loss < 1e4 else f"{loss:.1e}"


def _advise(job: Job, rows: list[dict[str, Any]], wait_seconds: float) -> None:
    """Warns, once a run, of a loader that is too slow and of a net that learns not."""
    share = wait_seconds / rows[-1]["seconds"] if rows[-1]["seconds"] else 0.0
    if len(rows) == 1 and share > MAX_WAIT_SHARE:
        job.screen.warn(
            f"the network waits for its images {100 * share:.0f} % of the time; "
            "smaller files or more processor cores would help"
        )
    guessing = math.log(job.num_classes)
    if len(rows) == NUM_EPOCHS_TO_LEARN and rows[-1]["train_loss"] > 0.99 * guessing:
        job.screen.warn(
            f"after {len(rows)} epochs the loss is still that of guessing "
            f"({guessing:.2f}); try another --config.optim.learning_rate"
        )


def _not_finite(
    job: Job, metrics: Metrics | Unwritten, step: int, values: dict[str, float]
) -> RunError:
    name = "gradient_norm" if math.isfinite(values["loss"]) else "loss"
    before = metrics.last_loss
    last = "" if before is None else f", last finite loss {before:.3g}"
    saved = job.checkpoints.last_step()
    kept = "nothing was saved yet" if saved is None else f"step {saved} is kept"
    epoch = (step - 1) // job.batches.steps_per_epoch + 1
    return RunError(
        f"{name} is {values[name]} at step {step} (epoch {epoch}, lr "
        f"{values['learning_rate']:g}{last}): must be finite; {kept}, start again with "
        "a smaller --config.optim.learning_rate"
    )
