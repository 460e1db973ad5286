"""The epochs of a run: steps, validation, checkpoints, and what is said of them."""

import collections
import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import jax

from cnn_arch import settings
from cnn_arch.checkpoints.checkpoint import open_checkpoints
from cnn_arch.checkpoints.state import TrainState
from cnn_arch.data.loading import Batch, TrainBatches
from cnn_arch.errors import RunError
from cnn_arch.ops.loops import unrolled
from cnn_arch.parallel.agreement import Agreement, Wish
from cnn_arch.parallel.mesh import put_batch
from cnn_arch.run_directory import Run
from cnn_arch.screen import clock
from cnn_arch.training.metrics import Metrics, Unwritten
from cnn_arch.training.program import Program, Variables
from cnn_arch.training.stopping import StoppedError, StopRequest, stop_request

MAX_WAIT_SHARE = 0.2  # of an epoch: more waiting for images is worth a warning
NUM_EPOCHS_TO_LEARN = 5  # after which a loss of guessing is worth one
STEPS_AHEAD = 2  # steps that the device has waiting while a metric is read

# Steps whose metrics are still on the device: number and metrics of each.
Running = collections.deque[tuple[int, Any]]


@dataclasses.dataclass
class Trainer:
    """Trains to the end of the run; the checkpoints hold the result."""

    program: Program  # compiled
    batches: TrainBatches
    # Returns "loss" in nats, "top1_error" and "top5_error" in percent, on the split
    # that chooses the best checkpoint.
    validate: Callable[[Variables], dict[str, float]]
    run: Run

    def __post_init__(self) -> None:
        """Opens the checkpoints of the run."""
        self.checkpoints = open_checkpoints(self.run)

    @property
    def num_steps(self) -> int:
        """Updates in the whole run."""
        return round(self.program.config.epochs * self.batches.steps_per_epoch)

    def fit(self) -> None:
        """Trains from the newest checkpoint, or from the start.

        Raises:
          RunError: the loss is not finite, or a checkpoint could not be read or saved.
          StoppedError: a signal asked to stop; the state is saved.
        """
        state = self._begin()
        step, steps_per_epoch = int(state.step), self.batches.steps_per_epoch
        if step >= self.num_steps:
            self.run.screen.say("done", "this run was finished before")
            return
        kind = Metrics if jax.process_index() == 0 else Unwritten
        screen, agreement = self.run.screen, Agreement()
        with (
            closing(kind(self.run.workdir, step, steps_per_epoch)) as metrics,
            closing(self.batches.iterate(step, self.num_steps)) as batches,
            stop_request() as stop,
        ):
            screen.row()
            screen.row(
                "epoch  train loss  val loss  val top-1       lr     img/s    time"
            )
            while step < self.num_steps:
                start, first_step = time.monotonic(), step
                step = (step // steps_per_epoch + 1) * steps_per_epoch
                step = min(step, self.num_steps)
                state, wait_seconds = self._train(state, step, batches, metrics, stop)
                num_images = (step - first_step) * self.program.config.batch_size
                images_per_second = num_images / (time.monotonic() - start)
                validation = self.validate(state.variables)
                rows = metrics.add_epoch(
                    step,
                    validation,
                    images_per_second=round(images_per_second, 1),
                    seconds=round(time.monotonic() - start, 2),
                    input_wait_seconds=round(wait_seconds, 3),
                )
                self._save(state, validation["top1_error"])
                if rows:
                    self._say(rows)
                    self._advise(rows, wait_seconds)
                metrics.draw(last=step == self.num_steps)
                agreement.ask(Wish(signal=stop.number))
                if (asked := agreement.hear().signal) and step < self.num_steps:
                    self.checkpoints.close()
                    raise StoppedError(asked, step / steps_per_epoch)
        self.checkpoints.close()

    def _begin(self) -> TrainState:
        """Returns the state of the newest checkpoint, or a fresh one."""
        state = self.program.restore(self.checkpoints)
        if state is None:
            return self.program.initialise()
        epoch = int(state.step) / self.batches.steps_per_epoch
        at = self.checkpoints.saved_at(int(state.step))
        self.run.screen.say(
            "resume",
            f"epoch {epoch:.4g} of {self.program.config.epochs:g} (checkpoint of {at})",
        )
        return state

    def _train(
        self,
        state: TrainState,
        end: int,
        batches: Iterator[Batch],
        metrics: Metrics | Unwritten,
        stop: StopRequest,
    ) -> tuple[TrainState, float]:
        """Makes the steps up to ``end``; returns the state and the wait for input."""
        step, agreement = int(state.step), Agreement()
        steps_per_epoch = self.batches.steps_per_epoch
        running: Running = collections.deque()
        wait_seconds, last_saved = 0.0, time.monotonic()
        label = f"epoch {(end - 1) // steps_per_epoch + 1}"
        with self.run.screen.progress(label, end - step) as progress:
            while step < end:
                start = time.monotonic()
                batch = next(batches)
                wait_seconds += time.monotonic() - start
                batch = put_batch(batch, self.program.mesh)
                state, on_device = self.program.train_step(state, batch)
                step += 1
                minutes = (time.monotonic() - last_saved) / 60
                is_due = minutes > self.program.config.checkpoint.every_minutes
                running.append((step, on_device))
                agreement.ask(Wish(save=is_due, signal=stop.number))
                num_left = STEPS_AHEAD if step < end else 0
                self._read(running, num_left, metrics, progress.advance)
                asked = agreement.hear(num_left)
                if step < end and asked.save:
                    self._read(running, 0, metrics, progress.advance)
                    # A process that asked to stop keeps asking: nothing is lost by
                    # forgetting the answers that are still on their way.
                    agreement.hear()
                    metrics.sync()
                    self._save(state, None)
                    last_saved = time.monotonic()
                    if asked.signal:
                        self.checkpoints.close()
                        raise StoppedError(asked.signal, step / steps_per_epoch)
        return state, wait_seconds

    def _read(
        self,
        running: Running,
        num_left: int,
        metrics: Metrics | Unwritten,
        advance: Callable[[str], None],
    ) -> None:
        """Reads the metrics of all but the newest few steps."""
        while len(running) > num_left:
            number, on_device = running.popleft()
            values = {key: float(x) for key, x in jax.device_get(on_device).items()}
            if not all(map(math.isfinite, values.values())):
                raise self._not_finite(number, values, metrics.last_loss)
            metrics.add_step(number, values)
            advance(f"loss {values['loss']:.3f}")

    def _save(self, state: TrainState, validation_error: float | None) -> None:
        self.checkpoints.save(
            unrolled(state),
            config=json.loads(settings.to_json(self.program.config)),
            epoch=int(state.step) / self.batches.steps_per_epoch,
            validation_error=validation_error,
        )

    def _say(self, rows: list[dict[str, Any]]) -> None:
        """Prints the newest row of the epoch table; ``*`` marks the least error."""
        row = rows[-1]
        errors = [float(row["validation_top1_error"]) for row in rows]
        star = "*" if errors[-1] == min(errors) else " "
        self.run.screen.row(
            f"{row['epoch']:>5.4g}  {row['train_loss']:>10.3f}  "
            f"{_short(row['validation_loss']):>8}  {100 - errors[-1]:>7.1f} %{star} "
            f"{row['learning_rate']:>7.2g}  {row['images_per_second']:>8,.0f}  "
            f"{clock(row['seconds']):>6}"
        )

    def _advise(self, rows: list[dict[str, Any]], wait_seconds: float) -> None:
        """Warns, once a run, of a loader that is too slow and of a net that guesses."""
        share = wait_seconds / rows[-1]["seconds"] if rows[-1]["seconds"] else 0.0
        if len(rows) == 1 and share > MAX_WAIT_SHARE:
            self.run.screen.warn(
                f"the network waits for its images {100 * share:.0f} % of the time; "
                "smaller files or more processor cores would help"
            )
        guessing, num_epochs = math.log(self.program.num_classes), len(rows)
        loss = rows[-1]["train_loss"]
        if num_epochs == NUM_EPOCHS_TO_LEARN and loss > 0.99 * guessing:
            self.run.screen.warn(
                f"after {num_epochs} epochs the loss is still that of guessing "
                f"({guessing:.2f}); try another --config.optim.learning_rate"
            )

    def _not_finite(
        self, step: int, values: dict[str, float], before: float | None
    ) -> RunError:
        name = "gradient_norm" if math.isfinite(values["loss"]) else "loss"
        last = "" if before is None else f", last finite loss {before:.3g}"
        saved = self.checkpoints.last_step()
        kept = "nothing was saved yet" if saved is None else f"step {saved} is kept"
        epoch = (step - 1) // self.batches.steps_per_epoch + 1
        return RunError(
            f"{name} is {values[name]} at step {step} (epoch {epoch}, lr "
            f"{values['learning_rate']:g}{last}): must be finite; {kept}, start again "
            "with a smaller --config.optim.learning_rate"
        )


def _short(loss: float) -> str:
    return f"{loss:.3f}" if loss < 1e4 else f"{loss:.1e}"
