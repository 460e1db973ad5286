"""Checkpoints: restored bit for bit, or refused with the name of a damaged array."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from cnn_arch.checkpoints import step_folders
from cnn_arch.checkpoints.fingerprint import (
    DamageError,
    load_items,
    make_record,
    verify,
    without_empty,
)
from cnn_arch.checkpoints.orbax_log import quieten_orbax
from cnn_arch.checkpoints.state import TrainState
from cnn_arch.errors import RunError, UsageError
from cnn_arch.files import free_bytes
from cnn_arch.parallel import processes
from cnn_arch.run_directory import Run

_STATE_ITEMS = ("params", "batch_stats", "opt_state")


class Checkpoints:
    """The checkpoints of one run: the newest two, and the best by validation error.

    A step is a folder ``STEP`` with the items params, batch_stats, opt_state, config
    and record. All processes must call `save`, `wait`, `close`, `restore` and
    `restore_variables`; process 0 chooses steps, and names and deletes folders.
    """

    def __init__(self, directory: str | Path, *, warn: Callable[[str], None]):
        """Opens a directory; the first save creates it. `warn` prints one line."""
        self.directory = Path(directory).resolve()
        self._warn = warn
        self._newest: tuple[int, dict[str, Any]] | None = None  # step, abstract items
        self._pending: ocp.AsyncResponse[None] | None = None  # the save of `_newest`
        registry = ocp.handlers.local_registry()
        for item in ("config", "record"):  # by default, orbax stores numbers as arrays
            registry.add(ocp.handlers.JsonHandler, checkpointable_name=item)
        self._context = ocp.Context()
        self._context.checkpointables.registry = registry
        quieten_orbax()

    def steps(self) -> list[int]:
        """Returns the steps on disk, oldest first; some may be damaged."""
        return list(self._folders())

    def last_step(self) -> int | None:
        """Returns the newest step."""
        return max(self.steps(), default=None)

    def saved_at(self, step: int) -> str:
        """Returns the time of day, such as 14:02, at which a step was saved."""
        seconds = self._folders()[step].stat().st_mtime
        return time.strftime("%H:%M", time.localtime(seconds))

    def best_step(self) -> int | None:
        """Returns the step of the lowest validation error, the last of equals."""
        return step_folders.find_best(self._folders())

    def save(
        self,
        state: TrainState,
        *,
        config: dict[str, Any],
        epoch: float,
        validation_error: float | None,
    ) -> None:
        """Starts to save a state; its arrays may be donated after this returns.

        Newer steps on disk are deleted afterwards: the run continued from an older one.

        Args:
          state: the state to save as step ``state.step``.
          config: every setting of the run, as JSON values.
          epoch: passes over the training split so far.
          validation_error: in percent; a step without it is never the best.

        Raises:
          RunError: this save or the previous one failed; older steps are intact.
        """
        self.wait()
        step = int(state.step)
        items = {name: getattr(state, name) for name in _STATE_ITEMS}
        record = make_record(items, epoch=epoch, validation_error=validation_error)
        self._newest = step, jax.tree.map(ocp.arrays.to_shape_dtype_struct, items)
        try:
            if jax.process_index() == 0:
                step_folders.make_room(self.directory, step)
            multihost_utils.sync_global_devices("names are free")
            with self._context:
                self._pending = ocp.save_checkpointables_async(
                    str(self.directory / str(step)),
                    without_empty(items) | {"config": config, "record": record},
                )
        except Exception as error:  # whatever orbax's libraries raise
            raise self._save_error(error) from error

    def wait(self) -> None:
        """Waits until the last save is safe on disk, then deletes old steps.

        Raises:
          RunError: the save failed; older steps are intact.
        """
        if self._newest is None or self._pending is None:
            return
        step, _ = self._newest
        pending, self._pending = self._pending, None
        try:
            pending.result()
            if jax.process_index() == 0:
                step_folders.sync_to_disk(self.directory / str(step))
        except Exception as error:  # whatever orbax's libraries raise
            raise self._save_error(error) from error
        if jax.process_index() == 0:
            step_folders.retain(self.directory, step, self._warn)
        multihost_utils.sync_global_devices("checkpoint is committed")

    def close(self) -> None:
        """Waits for the last save, reads it back and compares.

        Raises:
          RunError: the save failed, or the files differ from what was saved.
        """
        self.wait()
        if self._newest is not None:
            (step, abstract_items), self._newest = self._newest, None
            self._restore_step(step, abstract_items)

    def restore(
        self, abstract_state: TrainState, step: int | None = None
    ) -> TrainState | None:
        """Restores a step; None restores the newest intact one, if there is a step.

        The abstract state has a jax.ShapeDtypeStruct with a sharding for each array, on
        any mesh. A warning names each damaged step that is skipped.

        Raises:
          RunError: the step is damaged, or all steps are.
          UsageError: the step does not exist, or it belongs to another network.
        """
        abstract_items = {name: getattr(abstract_state, name) for name in _STATE_ITEMS}
        if step is None:
            step, items = self._restore_newest(abstract_items)
            if step is None:
                return None
        else:
            items = self._restore_step(step, abstract_items)
        return TrainState(
            step=jax.device_put(np.int32(step), abstract_state.step.sharding), **items
        )

    def restore_variables(
        self, abstract_params: Any, abstract_batch_stats: Any, which: str | int = "best"
    ) -> tuple[Any, Any, int]:
        """Restores the variables of a network without the optimizer's state.

        The abstract trees have jax.ShapeDtypeStruct with shardings; `which` is "best",
        "last" or a step.

        Returns:
          Parameters, batch statistics and their step.

        Raises:
          RunError: the step is damaged.
          UsageError: the step does not exist, or it belongs to another network.
        """
        steps = {"best": self.best_step(), "last": self.last_step()}
        steps |= {str(step): step for step in self.steps()}
        step = processes.from_first(steps.get(str(which)))
        if step is None:
            raise self._unknown(which)
        items = self._restore_step(
            step, {"params": abstract_params, "batch_stats": abstract_batch_stats}
        )
        return items["params"], items["batch_stats"], step

    def _folders(self) -> dict[int, Path]:
        return step_folders.find_steps(self.directory)

    def _restore_newest(
        self, abstract_items: dict[str, Any]
    ) -> tuple[int | None, dict[str, Any]]:
        damages = []
        for step in reversed(processes.from_first(self.steps())):
            try:
                items = self._load(step, abstract_items)
            except DamageError as damage:
                damages.append(f"checkpoint at step {step}: {damage}")
                continue
            for damage in damages:
                self._warn(f"{damage}; using step {step}")
            return step, items
        if damages:
            raise RunError(
                f"{damages[0]}; all in {self.directory} are damaged, start again with "
                "another --workdir"
            )
        return None, {}

    def _restore_step(
        self, step: int, abstract_items: dict[str, Any]
    ) -> dict[str, Any]:
        steps = processes.from_first(self.steps())
        if step not in steps:
            raise self._unknown(step)
        try:
            return self._load(step, abstract_items)
        except DamageError as damage:
            intact = [
                f"--checkpoint={other}"
                for other in steps
                if other != step and self._is_intact(other, abstract_items)
            ]
            fix = f"use {' or '.join(intact)}" if intact else "no other is intact"
            raise RunError(f"checkpoint at step {step}: {damage}; {fix}") from damage

    def _is_intact(self, step: int, abstract_items: dict[str, Any]) -> bool:
        try:
            self._load(step, abstract_items)
        except DamageError:
            return False
        return True

    def _load(self, step: int, abstract_items: dict[str, Any]) -> dict[str, Any]:
        """Loads and verifies items of a step; all processes fail if one does."""
        path = self._folders().get(step, self.directory / str(step))
        items, damage = {}, None
        try:
            items = load_items(path, abstract_items)
        except DamageError as error:
            damage = error
        if any(processes.gather(damage is not None)):
            raise damage or DamageError("cannot be read by another process")
        verify(path, items)
        return items

    def _unknown(self, which: str | int) -> UsageError:
        steps = ", ".join(map(str, self.steps())) or "none"
        return UsageError(
            f"--checkpoint={which}: no such checkpoint in {self.directory}; steps "
            f"there: {steps}"
        )

    def _save_error(self, error: BaseException) -> RunError:
        """Deletes the remains of the newest save and returns why it failed."""
        assert self._newest is not None
        (step, abstract_items), self._newest = self._newest, None
        if jax.process_index() == 0:
            step_folders.remove_leftovers(self.directory)
        last = self.last_step()
        start = "starts again" if last is None else f"continues from step {last}"
        fix = f"the same command {start}"
        while error.__cause__ is not None:
            error = error.__cause__
        lost = processes.explain_loss(error)
        if lost:
            return RunError(f"{lost}; checkpoint at step {step} was not saved, {fix}")
        needed = sum(
            leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(abstract_items)
        )
        free = free_bytes(self.directory)
        space = f"it needs {needed / 2**20:.1f} MiB and {free / 2**20:.1f} MiB are free"
        # Of several processes, another one may have had no space.
        is_short = jax.process_count() == 1 or free < 2 * needed
        return RunError(
            f"checkpoint at step {step}: not saved to {self.directory}, "
            f"{_reason(error)}; {space + '; ' if is_short else ''}{fix}"
        )


def open_checkpoints(run: Run) -> Checkpoints:
    """Returns the checkpoints of a run."""
    return Checkpoints(run.workdir / "checkpoints", warn=run.screen.warn)


def _reason(error: BaseException) -> str:
    """Returns the reason of an error without the paths before it."""
    reason = str(error).partition(" [")[0].rpartition(": ")[2]
    return getattr(error, "strerror", None) or reason
