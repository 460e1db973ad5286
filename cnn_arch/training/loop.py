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
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cnn_arch import settings
from cnn_arch.data.loading import TrainBatches
from cnn_arch.data.sources import Source
from cnn_arch.errors import RunError
from cnn_arch.evaluation.one_crop import EvalStep, evaluate
from cnn_arch.parallel.mesh import put_batch
from cnn_arch.report import plots
from cnn_arch.run_directory import Table
from cnn_arch.screen import Progress, Screen, clock
from cnn_arch.training.checkpoint import Checkpoints
from cnn_arch.training.state import TrainState
from cnn_arch.training.step import TrainStep
from cnn_arch.training.stopping import StoppedError, StopRequest, stop_request

STEP_COLUMNS = (
    "step",
    "loss",
    "top1_error",
    "gradient_norm",
    "learning_rate",
)
EPOCH_COLUMNS = (
    "epoch",
    "step",
    "train_loss",
    "train_top1_error",
    "validation_loss",
    "validation_top1_error",
    "validation_top5_error",
    "learning_rate",
    "images_per_second",
    "seconds",
    "input_wait_seconds",
)
CURVES_INTERVAL_SECONDS = 10.0  # between two drawings of the curves
STEPS_AHEAD = 2  # steps that the device has waiting while a metric is read


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
      train_step: compiled.
      eval_step: compiled.
      schedule: the learning rate at a step.
      checkpoints: of the run.
      skipped: names of the images that could not be read.
    """

    config: ConfigDict
    workdir: Path
    screen: Screen
    mesh: Mesh
    batches: TrainBatches
    validation: Source
    train_step: TrainStep
    eval_step: EvalStep
    schedule: optax.Schedule
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
    from tensorboardX import SummaryWriter

    step = int(state.step)
    steps_per_epoch = job.batches.steps_per_epoch
    at_checkpoint = lambda row: int(row["step"]) <= step  # noqa: E731
    steps = Table(job.workdir / "steps.csv", STEP_COLUMNS, at_checkpoint)
    epochs = Table(job.workdir / "metrics.csv", EPOCH_COLUMNS, at_checkpoint)
    board = SummaryWriter(str(job.workdir), purge_step=step + 1 if step else None)
    last_drawn = 0.0
    with (
        closing(steps),
        closing(epochs),
        closing(board),
        closing(job.batches.iterate(step, job.num_steps)) as batches,
        stop_request() as stop,
    ):
        job.screen.row()
        job.screen.row(
            "epoch  train loss  val loss  val top-1       lr     img/s    time"
        )
        while step < job.num_steps:
            epoch = step // steps_per_epoch
            first_step, start = step, time.monotonic()
            end = min((epoch + 1) * steps_per_epoch, job.num_steps)
            state, wait_seconds = _train(job, state, batches, steps, end, stop)
            step = end
            seconds = time.monotonic() - start
            results = _validate(job, state)
            of_epoch = steps.rows[epoch * steps_per_epoch - step :]
            num_images = (end - first_step) * job.config.batch_size
            epochs.add(
                epoch=epoch + 1
                if end % steps_per_epoch == 0
                else end / steps_per_epoch,
                step=step,
                train_loss=_mean(of_epoch, "loss"),
                train_top1_error=_mean(of_epoch, "top1_error"),
                validation_loss=results["loss"],
                validation_top1_error=results["top1_error"],
                validation_top5_error=results["top5_error"],
                learning_rate=float(job.schedule(step - 1)),
                images_per_second=round(num_images / seconds, 1),
                seconds=round(time.monotonic() - start, 2),
                input_wait_seconds=round(wait_seconds, 3),
            )
            epochs.sync()
            _save(job, state, epoch=step / steps_per_epoch, results=results)
            _tell(job, epochs.rows)
            for name, value in epochs.rows[-1].items():
                board.add_scalar(f"epoch/{name}", value, step)
            for row in of_epoch[first_step - step :]:
                board.add_scalar("step/loss", row["loss"], row["step"])
            board.flush()
            steps.rows.clear()  # what is on disk need not stay in memory
            if step == job.num_steps or (
                time.monotonic() - last_drawn > CURVES_INTERVAL_SECONDS
            ):
                plots.curves(job.workdir / "plots" / "curves.png", epochs.rows)
                last_drawn = time.monotonic()
            if stop.number and step < job.num_steps:
                job.checkpoints.close()
                raise StoppedError(stop.number, step)
    job.checkpoints.close()


def _train(
    job: Job,
    state: TrainState,
    batches: Iterator[dict[str, np.ndarray]],
    steps: Table,
    end: int,
    stop: StopRequest,
) -> tuple[TrainState, float]:
    """Makes the steps up to ``end``; returns the state and the wait for input."""
    step = int(state.step)
    per_epoch = job.batches.steps_per_epoch
    running: collections.deque[tuple[int, Any]] = collections.deque()
    wait_seconds = 0.0
    last_saved = time.monotonic()

    def read_one(progress: Progress) -> None:
        number, metrics = running.popleft()
        values = {key: float(value) for key, value in jax.device_get(metrics).items()}
        rate = float(job.schedule(number - 1))
        if not all(map(math.isfinite, values.values())):
            raise _not_finite(job, steps, number, values, rate)
        steps.add(step=number, learning_rate=rate, **values)
        progress.advance(f"loss {values['loss']:.3f}")

    label = f"epoch {(end - 1) // per_epoch + 1}"
    with job.screen.progress(label, end - step) as progress:
        while step < end:
            start = time.monotonic()
            batch = next(batches)
            wait_seconds += time.monotonic() - start
            state, metrics = job.train_step(state, put_batch(batch, job.mesh))
            step += 1
            running.append((step, metrics))
            if len(running) > STEPS_AHEAD:
                read_one(progress)
            minutes = (time.monotonic() - last_saved) / 60
            is_due = minutes > job.config.checkpoint.every_minutes
            if step < end and (stop.number or is_due):
                while running:
                    read_one(progress)
                steps.sync()
                _save(job, state, epoch=step / per_epoch, results=None)
                last_saved = time.monotonic()
            if step < end and stop.number:
                job.checkpoints.close()
                raise StoppedError(stop.number, step)
        while running:
            read_one(progress)
    steps.sync()
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


def _save(job: Job, state: TrainState, *, epoch: float, results: Any) -> None:
    job.checkpoints.save(
        state,
        config=json.loads(settings.to_json(job.config)),
        epoch=epoch,
        validation_error=results and results["top1_error"],
    )


def _mean(rows: list[dict[str, Any]], column: str) -> float:
    return float(np.mean([float(row[column]) for row in rows]))


def _tell(job: Job, rows: list[dict[str, Any]]) -> None:
    """Prints the newest row of the epoch table; ``*`` marks the least error so far."""
    row = rows[-1]
    errors = [float(row["validation_top1_error"]) for row in rows]
    star = "*" if errors[-1] == min(errors) else " "
    job.screen.row(
        f"{row['epoch']:>5.4g}  {row['train_loss']:>10.3f}  "
        f"{row['validation_loss']:>8.3f}  {100 - errors[-1]:>7.1f} %{star} "
        f"{row['learning_rate']:>7.2g}  {row['images_per_second']:>8,.0f}  "
        f"{clock(row['seconds']):>6}"
    )


def _not_finite(
    job: Job, steps: Table, step: int, values: dict[str, float], rate: float
) -> RunError:
    name = "gradient_norm" if math.isfinite(values["loss"]) else "loss"
    last = (
        f", last finite loss {float(steps.rows[-1]['loss']):.3g}" if steps.rows else ""
    )
    saved = job.checkpoints.last_step()
    kept = f"step {saved} is kept" if saved is not None else "nothing was saved yet"
    epoch = (step - 1) // job.batches.steps_per_epoch + 1
    return RunError(
        f"{name} is {values[name]} at step {step} (epoch {epoch}, lr {rate:g}{last}): "
        f"must be finite; {kept}, start again with a smaller "
        "--config.optim.learning_rate"
    )
