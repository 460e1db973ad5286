"""Checkpoints: restored bit for bit, or refused with the name of a damaged array."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from cnn_arch import run_directory
from cnn_arch.checkpoints import failures, step_folders
from cnn_arch.checkpoints.fingerprint import (
    DamageError,
    load_verified,
    make_record,
    read_record,
    without_empty,
)
from cnn_arch.checkpoints.orbax_adapter import LiteralPath, context_with_json
from cnn_arch.checkpoints.state import TrainState
from cnn_arch.errors import RunError, UsageError
from cnn_arch.parallel import processes
from cnn_arch.run_directory import Run

_STATE_ITEMS = "params", "batch_stats", "opt_state", "average"


class Checkpoints:
    """The checkpoints of one run: the newest two, and the best by validation error.

    A step is a folder ``STEP`` with the items params, batch_stats, opt_state, config,
    record and, where one is kept, average. All processes must call `save`, `wait`,
    `close`, `restore` and `restore_variables`; process 0 chooses steps, and names and
    deletes folders.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        warn: Callable[[str], None],
        known_errors: Callable[[], Mapping[int, float] | None] = lambda: None,
    ):
        """Opens a directory; the first save creates it.

        Args:
          directory: of the checkpoints alone.
          warn: prints one line.
          known_errors: returns the error of each validated step, for steps whose record
            is damaged; None: they are not known.
        """
        self.directory = Path(directory).resolve()
        self._warn, self._known_errors = warn, known_errors
        self._has_read_back = False
        self._newest: tuple[int, dict[str, Any]] | None = None  # step, abstract items
        self._pending: ocp.AsyncResponse[None] | None = None  # the save of `_newest`
        self._context = context_with_json("config", "record")

    def steps(self) -> list[int]:
        """Returns the steps on disk, oldest first; some may be damaged."""
        return list(self._folders())

    def last_step(self) -> int | None:
        """Returns the newest step."""
        return max(self.steps(), default=None)

    def saved_at(self, step: int) -> str:
        """Returns the time of day of a save, such as 14:02."""
        return time.strftime("%H:%M", time.localtime(self._path(step).stat().st_mtime))

    def facts(self, step: int) -> dict[str, Any]:
        """Returns what was saved with an intact step, such as "validation_error"."""
        return read_record(self._path(step))

    def best_step(self) -> int | None:
        """Returns the step of the lowest validation error, the last of equals.

        If its record is damaged, it is still the best; restoring it fails.
        """
        return step_folders.find_best(self._folders(), self._known_errors())

    def save(
        self,
        state: TrainState,
        *,
        config: dict[str, Any],
        validation_error: float | None,
        **facts: Any,
    ) -> None:
        """Starts to save a state; its arrays may be donated after this returns.

        The first save is read back at once, in case that the disk does not keep what is
        written. Newer steps are deleted: the run continued from an older one.

        Args:
          state: the state to save as step ``state.step``.
          config: every setting of the run, as JSON values.
          validation_error: in percent; a step without it is never the best.
          **facts: more for `facts`, as JSON values.

        Raises:
          RunError: this save or the previous one failed; older steps are intact.
        """
        self.wait()
        step = int(state.step)
        items = {name: getattr(state, name) for name in _STATE_ITEMS}
        record = make_record(items, validation_error=validation_error, **facts)
        self._newest = step, jax.tree.map(ocp.arrays.to_shape_dtype_struct, items)
        try:
            if processes.index() == 0:
                step_folders.make_room(self.directory, step)
            multihost_utils.sync_global_devices("names are free")
            with self._context:
                self._pending = ocp.save_checkpointables_async(
                    LiteralPath(self.directory / str(step)),
                    without_empty(items) | {"config": config, "record": record},
                )
        except Exception as error:  # whatever orbax's libraries raise
            raise self._save_error(error) from error
        if not self._has_read_back:
            self.close()

    def wait(self) -> None:
        """Waits until the last save is safe on disk, then deletes old steps.

        Raises:
          RunError: the save failed; older steps are intact.
        """
        if self._newest is None or self._pending is None:
            return
        (step, _), pending, self._pending = self._newest, self._pending, None
        try:
            pending.result()
        except Exception as error:  # whatever orbax's libraries raise
            raise self._save_error(error) from error
        self._finish(step)
        multihost_utils.sync_global_devices("checkpoint is committed")

    def _finish(self, step: int) -> None:
        """Makes sure of the newest step, then renews the links and deletes old ones."""
        if processes.index():
            return
        try:
            step_folders.sync_to_disk(self._path(step))
        except OSError as error:
            raise failures.not_confirmed(error, self.directory, step) from error
        step_folders.tidy(self.directory, step, self._known_errors(), self._warn)

    def close(self) -> None:
        """Waits for the last save, reads it back and compares.

        Raises:
          RunError: the save failed, or the files differ from what was saved.
        """
        self.wait()
        if self._newest is not None:
            (step, abstract_items), self._newest = self._newest, None
            self._restore_step(step, abstract_items)
            self._has_read_back = True

    def restore(
        self, abstract_state: TrainState, step: int | None = None
    ) -> TrainState | None:
        """Restores a step; None restores the newest intact one, if there is a step.

        The abstract state has a jax.ShapeDtypeStruct with a sharding for each array, on
        any mesh. A warning names each damaged step that is skipped. Only the command
        that trains may call this: it completes what a kill left undone.

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
            if self._find(step) is None:
                raise failures.unknown(step, self.directory, self.steps())
            items = self._restore_step(step, abstract_items)
        return TrainState(
            step=jax.device_put(np.int32(step), abstract_state.step.sharding), **items
        )

    def restore_variables(
        self,
        abstract_variables: Mapping[str, Any],
        which: str | int = "best",
        *,
        averaged: bool = False,
    ) -> tuple[dict[str, Any], int]:
        """Restores the variables of a network without the optimizer's state.

        The abstract trees "params" and "batch_stats" have jax.ShapeDtypeStruct with
        shardings; `which` is "best", "last" or a step. If `averaged`, the parameters
        are their average.

        Returns:
          The variables and their step.

        Raises:
          RunError: the step is damaged.
          UsageError: the step does not exist, or it belongs to another network.
        """
        params = "average" if averaged else "params"
        wanted = {params: abstract_variables["params"]}
        wanted["batch_stats"] = abstract_variables["batch_stats"]
        while True:
            step = self._find(which)
            if step is None:
                raise failures.unknown(which, self.directory, self.steps())
            try:
                items = self._restore_step(step, wanted)
            except (RunError, UsageError):
                # A run that still trains may have deleted it since it was chosen.
                if self._find(which) == step:
                    raise
                continue
            return {"params": items.pop(params), **items}, step

    def _find(self, which: str | int) -> int | None:
        """Returns the step that is meant, the same on all processes."""
        steps = {"best": self.best_step(), "last": self.last_step()}
        steps |= {str(step): step for step in self.steps()}
        return processes.from_first(steps.get(str(which)))

    def _folders(self) -> dict[int, Path]:
        return step_folders.find_steps(self.directory)

    def _restore_newest(
        self, abstract_items: dict[str, Any]
    ) -> tuple[int | None, dict[str, Any]]:
        damages = []
        for step in reversed(processes.from_first(self.steps())):
            try:
                items = load_verified(self._path(step), abstract_items)
            except DamageError as damage:
                damages.append(f"checkpoint at step {step}: {damage}")
                continue
            for damage in damages:
                self._warn(f"{damage}; using step {step}")
            if not damages:
                self._finish(step)
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
        try:
            return load_verified(self._path(step), abstract_items)
        except DamageError as damage:
            intact = [
                f"--checkpoint={other}"
                for other in processes.from_first(self.steps())
                if other != step and self._is_intact(other, abstract_items)
            ]
            fix = f"eval.py can use {' or '.join(intact) or 'none: no other is intact'}"
            if intact and step == processes.from_first(self.best_step()):
                fix += f"; delete {self._path(step)}, and the best of the others counts"
            raise RunError(f"checkpoint at step {step}: {damage}; {fix}") from damage

    def _is_intact(self, step: int, abstract_items: dict[str, Any]) -> bool:
        try:
            load_verified(self._path(step), abstract_items)
        except (DamageError, UsageError):
            return False
        return True

    def _path(self, step: int) -> Path:
        return self._folders().get(step, self.directory / str(step))

    def _save_error(self, error: BaseException) -> RunError:
        """Deletes the remains of the newest save and returns why it failed."""
        assert self._newest is not None
        (step, abstract_items), self._newest = self._newest, None
        if processes.index() == 0:
            step_folders.remove_leftovers(self.directory)
        last = self.last_step()
        return failures.not_saved(error, self.directory, step, abstract_items, last)


def open_checkpoints(run: Run) -> Checkpoints:
    """Returns the checkpoints of a run."""
    return Checkpoints(
        run.workdir / "checkpoints",
        warn=run.screen.warn,
        known_errors=partial(run_directory.validation_errors, run.workdir),
    )
