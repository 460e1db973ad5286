"""The epochs of a run: steps, validation, checkpoints, and the table on the screen."""

import collections
import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, NoReturn

from ml_collections import ConfigDict

from cnn_arch import settings
from cnn_arch.checkpoints.checkpoint import open_checkpoints
from cnn_arch.checkpoints.state import TrainState
from cnn_arch.data.loading import Batch, TrainBatches
from cnn_arch.errors import DivergedError
from cnn_arch.ops.loops import unrolled
from cnn_arch.parallel.agreement import Agreement, Wish
from cnn_arch.parallel.mesh import put_batch
from cnn_arch.run_directory import Run
from cnn_arch.screen import clock
from cnn_arch.training import layer_gradients
from cnn_arch.training.advice import after_an_epoch, at_the_start
from cnn_arch.training.metrics import AVERAGE_COLUMNS, Metrics, open_metrics
from cnn_arch.training.program import Program, Variables
from cnn_arch.training.schedules import num_steps
from cnn_arch.training.stopping import StoppedError, StopRequest, is_over, stop_request
from cnn_arch.units import counted

STEPS_AHEAD = 2  # steps queued on the device while the host reads metrics


def is_finished(run: Run, config: ConfigDict, steps_per_epoch: int) -> bool:
    """Whether a run has saved its last step, so that it needs no compiled program.

    If that step is damaged, `Trainer` continues from an older one and compiles then.
    """
    saved = open_checkpoints(run).last_step() or 0
    return is_over(run, config, saved, steps_per_epoch)


@dataclasses.dataclass
class Trainer:
    """Trains to the end of the run and saves the result as checkpoints."""

    program: Program  # compiled, or compiled at its first step
    batches: TrainBatches
    # Returns "loss" in nats, "top1_error" and "top5_error" in percent, on the split
    # that chooses the best checkpoint.
    validate: Callable[[Variables], dict[str, float]]
    run: Run
    start: Mapping[tuple[str, ...], Any] | None = None  # for `Program.initialise`

    def __post_init__(self) -> None:
        """Opens the checkpoints of the run."""
        self.checkpoints = open_checkpoints(self.run)
        self._agreement = Agreement()
        self._has_saved = False  # in this start, and not because it was asked to stop

    def fit(self) -> None:
        """Trains from the newest checkpoint, or from the start.

        Raises:
          DivergedError: the loss is not finite.
          RunError: a checkpoint could not be read or saved, or the directory of the run
            was deleted or moved.
          StoppedError: a signal asked to stop; the state is saved.
        """
        state = self._begin()
        step, steps_per_epoch = int(state.step), self.batches.steps_per_epoch
        config = self.program.config
        end = num_steps(config, steps_per_epoch)
        if ended := is_over(self.run, config, step, steps_per_epoch):
            self.run.screen.say("done", "this run was finished before")
            return
        with (
            closing(self._open_metrics(step)) as metrics,
            closing(self.batches.iterate(step, end)) as batches,
            stop_request() as stop,
            self.run.noting_divergence(steps_per_epoch),
        ):
            self._say_head()
            while not ended:
                start, first_step = time.monotonic(), step
                step = min((step // steps_per_epoch + 1) * steps_per_epoch, end)
                state, wait_seconds = self._train(state, step, batches, metrics, stop)
                num_images = (step - first_step) * config.batch_size
                images_per_second = num_images / (time.monotonic() - start)
                validation = self._judge(state)
                state = self.program.observe(state, validation["top1_error"])
                rows = metrics.add_epoch(
                    step,
                    validation,
                    images_per_second=round(images_per_second, 1),
                    seconds=round(time.monotonic() - start, 2),
                    input_wait_seconds=round(wait_seconds, 3),
                )
                self._save(state, metrics, validation["top1_error"])
                self._has_saved = True
                if rows:
                    self._say(rows)
                    for line in after_an_epoch(rows, self.program.num_classes):
                        self.run.screen.warn(line)
                self.run.check(now=True)  # drawing would make the directory again
                ended = is_over(self.run, config, step, steps_per_epoch)
                metrics.draw(last=ended)
                self._agreement.ask(Wish(signal=stop.number))
                if asked := self._agreement.hear().signal:
                    self._stop(asked, step)
        self.checkpoints.close()
        if step < end:
            epochs = counted(config.early_stopping, "epoch")
            self.run.screen.say("ended", f"{epochs} without a lower validation error")

    def _open_metrics(self, step: int) -> Metrics:
        """Opens the tables, and warns if they are not those that the run wrote."""
        more_columns = {
            "metrics.csv": AVERAGE_COLUMNS * self._averages,
            layer_gradients.FILE: ["/".join(x) for x in self.program.logged_layers],
        }
        metrics = open_metrics(
            self.run.workdir,
            step,
            self.batches.steps_per_epoch,
            self.program.num_classes,
            more_columns,
        )
        written = self.checkpoints.facts(step).get("tables", {}) if step else {}
        for name, found in metrics.checksums().items():
            if written.get(name, found) != found:
                self.run.screen.warn(
                    f"{self.run.workdir / name}: up to step {step} it is not what the "
                    "run wrote; put a copy back, or do not trust these rows"
                )
        return metrics

    @property
    def _averages(self) -> bool:
        return self.program.config.optim.average != "none"

    def _judge(self, state: TrainState) -> dict[str, float]:
        """Validates the network, and the average of its parameters if one is kept."""
        answer = dict(self.validate(state.variables))
        if averaged := state.averaged_variables:
            of_average = self.validate(averaged)
            answer |= {f"average_{key}": x for key, x in of_average.items()}
        return answer

    def _begin(self) -> TrainState:
        """Returns the state of the newest checkpoint, or a fresh one."""
        state = self.program.restore(self.checkpoints)
        if state is None:
            return self.program.initialise(self.start)
        steps_per_epoch = self.batches.steps_per_epoch
        epoch = int(state.step) / steps_per_epoch
        last = num_steps(self.program.config, steps_per_epoch) / steps_per_epoch
        at = self.checkpoints.saved_at(int(state.step))
        self.run.screen.say(
            "resume", f"epoch {epoch:.4g} of {last:.4g} (checkpoint of {at})"
        )
        return state

    def _train(
        self,
        state: TrainState,
        end: int,
        batches: Iterator[Batch],
        metrics: Metrics,
        stop: StopRequest,
    ) -> tuple[TrainState, float]:
        """Makes the steps up to ``end``; returns the state and the wait for input."""
        step = int(state.step)
        # Steps whose metrics are still on the device: number and metrics of each.
        running: collections.deque[tuple[int, Any]] = collections.deque()
        wait_seconds, last_saved = 0.0, time.monotonic()

        def read_metrics(num_left: int) -> None:
            """Reads the metrics of all steps but the newest ``num_left``."""
            while len(running) > num_left:
                number, on_device = running.popleft()
                values, norms = layer_gradients.take_norms(on_device)
                if not all(map(math.isfinite, values.values())):
                    raise self._not_finite(number, values, metrics.last_loss)
                metrics.add_step(number, values, norms)
                progress.advance(f"loss {values['loss']:.3f}")

        label = f"epoch {(end - 1) // self.batches.steps_per_epoch + 1}"
        with self.run.screen.progress(label, end - step) as progress:
            while step < end:
                start = time.monotonic()
                batch = next(batches)
                wait_seconds += time.monotonic() - start
                batch = put_batch(batch, self.program.mesh)
                state, on_device = self.program.step_at(step)(state, batch)
                step += 1
                self.run.check()
                minutes = (time.monotonic() - last_saved) / 60
                is_due = minutes > self.program.config.checkpoint.every_minutes
                running.append((step, on_device))
                self._agreement.ask(Wish(save=is_due, signal=stop.number))
                num_left = STEPS_AHEAD if step < end else 0
                read_metrics(num_left)
                asked = self._agreement.hear(num_left)
                if step < end and asked.save:
                    read_metrics(0)
                    # A process that asked to stop keeps asking: nothing is lost by
                    # forgetting the answers that are still on their way.
                    self._agreement.hear()
                    metrics.sync()
                    self._save(state, metrics, None)
                    last_saved = time.monotonic()
                    if asked.signal:
                        self._stop(asked.signal, step, self._has_saved or stop.is_late)
                    self._has_saved = True
        return state, wait_seconds

    def _stop(self, number: int, step: int, has_advanced: bool = True) -> NoReturn:
        self.checkpoints.close()
        place = f"at epoch {step / self.batches.steps_per_epoch:.4g}"
        raise StoppedError(number, place, has_advanced)

    def _save(
        self, state: TrainState, metrics: Metrics, validation_error: float | None
    ) -> None:
        self.run.check(now=True)  # orbax would make the directory again
        self.checkpoints.save(
            unrolled(state),
            config=json.loads(settings.to_json(self.program.config)),
            epoch=int(state.step) / self.batches.steps_per_epoch,
            validation_error=validation_error,
            tables=metrics.checksums(),
        )

    def _say_head(self) -> None:
        for line in at_the_start(self.program):
            self.run.screen.warn(line)
        self.run.screen.row()
        self.run.screen.row(
            "epoch  train loss  val loss  val top-1       lr     img/s    time"
            + "   average" * self._averages
        )

    def _say(self, rows: list[dict[str, Any]]) -> None:
        """Prints the newest row of the epoch table; ``*`` marks the lowest error."""
        row = rows[-1]
        errors = [float(each["validation_top1_error"]) for each in rows]
        star = "*" if errors[-1] == min(errors) else " "
        loss = row["validation_loss"]
        shown_loss = f"{loss:.3f}" if loss < 1e4 else f"{loss:.1e}"
        average = ""
        if "average_top1_error" in row:
            average = f"  {100 - row['average_top1_error']:>6.1f} %"
        self.run.screen.row(
            f"{row['epoch']:>5.4g}  {row['train_loss']:>10.3f}  "
            f"{shown_loss:>8}  {100 - errors[-1]:>7.1f} %{star} "
            f"{row['learning_rate']:>7.2g}  {row['images_per_second']:>8,.0f}  "
            f"{clock(row['seconds']):>6}{average}"
        )

    def _not_finite(
        self, step: int, values: dict[str, float], before: float | None
    ) -> DivergedError:
        name = next(key for key in values if not math.isfinite(values[key]))
        last = "" if before is None else f", last finite loss {before:.3g}"
        saved = self.checkpoints.last_step()
        kept = "nothing was saved yet; give the same command"
        if saved is not None:
            kept = f"step {saved} is kept; start again with another --workdir"
        epoch = (step - 1) // self.batches.steps_per_epoch + 1
        return DivergedError(
            f"{name} is {values[name]} at step {step} (epoch {epoch}, lr "
            f"{values['learning_rate']:g}{last}): must be finite; {kept} and "
            "a smaller --config.optim.learning_rate"
        )
