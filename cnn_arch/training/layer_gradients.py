"""The norm of the loss's gradient in each layer: layer_gradients.csv, and its picture.

With ``config.log.layer_gradients``, the training step also returns, for each layer with
a kernel, the L2 norm of the gradient of the batch's loss with respect to that kernel:
with auxiliary heads and class weights, before clipping and weight decay. The step uses
the same loss. Biases, and BatchNorm's scales and shifts, are not counted: a network
without BatchNorm has none of the latter, and the norms of both should compare. In a
layer that is frozen the norm is 0.

The table has a row for each of the first ``FIRST`` steps, where it changes most; then
for one step in ``EVERY`` and for the last of each epoch: a row a step would be 140 MB
for ResNet-110. The mean over an epoch is that of its rows.
"""

import csv
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from jax import lax

from cnn_arch.errors import UsageError
from cnn_arch.models.inspection import Layer, is_auxiliary
from cnn_arch.ops.loops import unrolled
from cnn_arch.training.tables import Board, Table

FILE = "layer_gradients.csv"
METRIC = "layer_gradients"  # of the step: float32 [number of layers]
FIRST, EVERY = 100, 10  # steps

Norms = dict[str, float]  # by layer, in the network's order; auxiliary heads last


def norms(grads: Any, specs: Any, layers: Sequence[Layer]) -> jax.Array:
    """Returns the norm of each layer's kernel, float32 [number of layers].

    Call it on each device of the mesh, with gradients that are summed over the batch.
    Blocks in a loop have a norm each. Elements are divided by the largest before they
    are squared: the square of a gradient below 1e-19 is zero in float32.

    Args:
      grads: of the parameters.
      specs: how they are split over the mesh, see ``partition_specs``.
      layers: of ``kernel_layers``.
    """
    kernels: Any = flatten_dict(unrolled(grads))
    spec_of: Any = flatten_dict(specs)  # no split network has loops
    paths = [(*layer, "kernel") for layer in layers]
    is_split = np.array(["model" in spec_of.get(path, ()) for path in paths])
    largest = jnp.stack([jnp.abs(kernels[path]).max() for path in paths])
    if is_split.any():
        largest = lax.pmax(largest, "model")
    scales = jnp.where(largest > 0, largest, 1)
    scaled = [kernels[path] / scale for path, scale in zip(paths, scales, strict=True)]
    sums = jnp.stack([jnp.square(each).sum() for each in scaled])
    if is_split.any():
        sums = jnp.where(is_split, lax.psum(sums, "model"), sums)
    return largest * jnp.sqrt(sums)


def take_norms(metrics: Mapping[str, Any]) -> tuple[dict[str, float], Any]:
    """Returns the other metrics of a step as numbers, and the norms; None if unlogged.

    It waits for the device.
    """
    values = jax.device_get(dict(metrics))
    by_layer = values.pop(METRIC, None)
    return {key: float(value) for key, value in values.items()}, by_layer


class Log:
    """Writes layer_gradients.csv of a run, and draws it."""

    def __init__(self, workdir: Path, layers: Sequence[str], step: int):
        """Opens the table; rows after ``step``, the checkpoint's, are dropped."""
        self._workdir, self._layers = workdir, layers
        self.table = Table(
            workdir / FILE, ("step", *layers), lambda row: int(row["step"]) <= step
        )
        self._left_out: dict[str, float] = {}  # the newest row, if it was not written

    def add_step(self, step: int, by_layer: np.ndarray) -> None:
        """Adds a row, if it is the turn of this step."""
        row = {"step": step, **dict(zip(self._layers, by_layer.tolist(), strict=True))}
        is_due = step <= FIRST or step % EVERY == 0
        self._left_out = {} if is_due else row
        if is_due:
            self.table.add(**row)

    def add_epoch(self, first_step: int, step: int, board: Board) -> None:
        """Ends an epoch: adds its last row, and its means to TensorBoard."""
        if self._left_out:
            self.table.add(**self._left_out)
            self._left_out = {}
        rows = [row for row in self.table.rows if int(row["step"]) >= first_step]
        self.table.rows.clear()  # they are on disk
        for name in self._layers:
            mean = float(np.mean([float(row[name]) for row in rows]))
            board.add_scalar(f"layer_gradients/{name}", mean, step)

    def draw(self) -> None:
        """Draws the first step, and the means over a middle epoch and the last one."""
        from cnn_arch.report import gradient_norms  # imports matplotlib

        steps, rows, names = _read(self._workdir)
        lines = {f"step {steps[0]}": dict(zip(names, rows[0], strict=True))}
        means = _means(self._workdir)
        epochs = list(means)
        for epoch in sorted({epochs[(len(epochs) - 1) // 2], epochs[-1]}):
            lines[f"epoch {epoch:g}"] = means[epoch]
        path = self._workdir / "plots" / "layer_gradients.png"
        gradient_norms.draw(path, {k: main_layers(v) for k, v in lines.items()})


def at_first_step(workdir: Path) -> Norms:
    """Returns the norms in the first step: of the network before it has learnt.

    Raises:
      UsageError: the run has no table, or it does not begin with step 1.
    """
    steps, rows, names = _read(workdir)
    if steps[:1] != [1]:
        raise UsageError(
            f"{workdir / FILE}: does not begin with the first step; start another run "
            "with --config.log.layer_gradients=true"
        )
    return dict(zip(names, rows[0].tolist(), strict=True))


def mean_of_epoch(workdir: Path, epoch: float | None = None) -> Norms:
    """Returns the mean norms over the rows of an epoch; by default, of the last one.

    Raises:
      UsageError: the run has no table, or the table has no row of this epoch.
    """
    means = _means(workdir)
    chosen = max(means, default=0.0) if epoch is None else epoch
    if chosen not in means:
        raise UsageError(f"{workdir / FILE}: has no row of epoch {chosen:g}")
    return means[chosen]


def first_to_last(found: Norms) -> float:
    """Returns the first layer's norm, divided by the last's; no auxiliary heads.

    Below 1, the gradient has shrunk on its way back. It is nan if the last norm is 0.
    """
    values = list(main_layers(found).values())
    return values[0] / values[-1] if values[-1] else math.nan


def measure(workdir: Path) -> dict[str, float]:
    """Returns what a finished run says of its gradients, by name.

    For the first step (``first_step``) and the mean over the last epoch
    (``last_epoch``): ``first_layer`` and ``last_layer``, their norms, and ``ratio``, of
    ``first_to_last``: ``{"first_step_ratio": 0.1, ...}``.

    Raises:
      UsageError: the run has no table, or only a part.
    """
    moments = {
        "first_step": at_first_step(workdir),
        "last_epoch": mean_of_epoch(workdir),
    }
    numbers = {}
    for moment, found in moments.items():
        first, *_, last = main_layers(found).values()
        numbers[f"{moment}_first_layer"] = first
        numbers[f"{moment}_last_layer"] = last
        numbers[f"{moment}_ratio"] = first_to_last(found)
    return numbers


def main_layers(found: Norms) -> Norms:
    """Returns the norms without auxiliary heads."""
    return {name: x for name, x in found.items() if not is_auxiliary((name,))}


def _read(workdir: Path) -> tuple[list[int], np.ndarray, Collection[str]]:
    """Returns the steps of the rows, the norms [rows, layers] and the layers' names."""
    path = workdir / FILE
    if not path.exists():
        raise UsageError(
            f"{path}: there is none; train with --config.log.layer_gradients=true"
        )
    with path.open(newline="", encoding="utf-8") as file:
        (_, *names), *rows = csv.reader(file)
    numbers = np.array(rows, np.float64).reshape(len(rows), 1 + len(names))
    return numbers[:, 0].astype(int).tolist(), numbers[:, 1:], names


def _means(workdir: Path) -> dict[float, Norms]:
    """Returns the mean norms over the rows of each finished epoch that has rows."""
    steps, rows, names = _read(workdir)
    path, start, means = workdir / "metrics.csv", 0, {}
    with path.open(newline="", encoding="utf-8") as file:
        for epoch in csv.DictReader(file):
            end = int(epoch["step"])
            inside = [start < step <= end for step in steps]
            if any(inside):
                mean = rows[inside].mean(axis=0).tolist()
                means[float(epoch["epoch"])] = dict(zip(names, mean, strict=True))
            start = end
    return means
