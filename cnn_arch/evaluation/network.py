"""A trained network to be evaluated: a run's checkpoint, or a file of weights."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cnn_arch import session
from cnn_arch.checkpoints.checkpoint import Checkpoints
from cnn_arch.data import records
from cnn_arch.data.sources import Dataset, load_dataset
from cnn_arch.errors import UsageError
from cnn_arch.models import init_variables
from cnn_arch.parallel.mesh import replicated
from cnn_arch.screen import Screen
from cnn_arch.weights.files import Weights, check_fit, read_weights


@dataclasses.dataclass(frozen=True)
class Trained:
    """A network with its arrays, which every device holds whole.

    Attributes:
      model: the Flax module.
      params: its parameters.
      batch_stats: its running statistics.
      class_names: in the order of the logits.
      origin: what results.json says of where the arrays come from.
    """

    model: Any
    params: Any
    batch_stats: Any
    class_names: list[str]
    origin: dict[str, Any]

    @property
    def variables(self) -> dict[str, Any]:
        """What ``model.apply`` takes."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def restore(
    options: argparse.Namespace,
    config: ConfigDict,
    workdir: Path,
    dataset: Dataset | None,
    mesh: Mesh,
    screen: Screen,
) -> Trained:
    """Restores a run's ``--checkpoint``, or reads ``--weights``.

    Args:
      options: of eval.py.
      config: of the run, or the recipe given.
      workdir: of the run.
      dataset: names the classes of ``--weights``, where it is open.
      mesh: the devices.
      screen: where it is told.

    Raises:
      UsageError: there are no such arrays, or they do not fit the network.
      RunError: the checkpoint is damaged.
    """
    if options.weights:
        names = dataset.class_names if dataset else _class_names(config)
        return _from_file(options.weights, config, names, mesh, screen)
    names = (workdir / "classes.txt").read_text(encoding="utf-8").splitlines()
    model = session.open_network(config, len(names), screen, loops=False)
    shapes = session.abstract(_shapes(model, config), model, mesh)
    checkpoints = Checkpoints(workdir / "checkpoints", warn=screen.warn)
    params, batch_stats, step = checkpoints.restore_variables(
        shapes["params"], shapes["batch_stats"], options.checkpoint
    )
    screen.say("restored", f"step {step}")
    return Trained(model, params, batch_stats, names, {"checkpoint_step": step})


def _from_file(
    path: str, config: ConfigDict, names: Sequence[str], mesh: Mesh, screen: Screen
) -> Trained:
    weights = read_weights(path, config.model.name)
    variables = weights.variables
    model = session.open_network(config, len(names), screen, loops=False)
    if hasattr(
        model, "aux_heads"
    ):  # a file may leave them out: only training uses them
        has_aux = any(name.startswith("aux") for name in variables["params"])
        model = model.clone(aux_heads=has_aux)
    try:
        check_fit(variables, _shapes(model, config))
    except UsageError as error:
        raise UsageError(
            f"--weights={path}: {error}; the data has {len(names)} classes"
        ) from None
    screen.say("restored", path)
    _normalise_as_expected(weights, config, screen)
    placed = jax.device_put(variables, replicated(mesh))
    params, batch_stats = placed["params"], placed["batch_stats"]
    return Trained(model, params, batch_stats, list(names), {"weights": path})


def _normalise_as_expected(
    weights: Weights, config: ConfigDict, screen: Screen
) -> None:
    """Sets the normalisation that the file's network was trained with, and tells it."""
    for key in ("mean", "std"):
        values = getattr(weights, key)
        if values and len(values) == config.data.channels:
            if values != tuple(config.data[key]):
                screen.say("", f"{key} {values}, as these weights expect")
            config.data[key] = values


def _class_names(config: ConfigDict) -> Sequence[str]:
    """Names the classes; ImageNet's without its images."""
    if config.data.source == "tfds" and config.data.name == "imagenet2012":
        return records.imagenet_class_names()
    return load_dataset(config.data).class_names


def _shapes(model: Any, config: ConfigDict) -> Any:
    size, channels = config.data.image_size, config.data.channels
    return jax.eval_shape(
        lambda key: init_variables(model, key, size, channels), jax.random.key(0)
    )
