"""A trained network: restored from a run's checkpoint or from a file of weights."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cnn_arch import run_directory, settings
from cnn_arch.checkpoints.checkpoint import open_checkpoints
from cnn_arch.costs.summary import describe_network
from cnn_arch.data import normalisation, records
from cnn_arch.data.normalisation import normalise
from cnn_arch.datasets.dataset import Dataset, load_dataset
from cnn_arch.datasets.pictures import Use
from cnn_arch.errors import UsageError
from cnn_arch.evaluation import exact_statistics
from cnn_arch.models.build import build_model, variable_shapes
from cnn_arch.parallel import processes
from cnn_arch.parallel.mesh import abstract, replicated
from cnn_arch.run_directory import Run, read_classes
from cnn_arch.screen import Screen
from cnn_arch.weights.download import local_path
from cnn_arch.weights.files import Weights, check_fit, read_weights


@dataclasses.dataclass(frozen=True)
class Network:
    """A network with its arrays."""

    model: Any  # the Flax module
    variables: dict[str, Any]  # {"params": ..., "batch_stats": ...}
    class_names: tuple[str, ...]  # in the order of the logits
    origin: dict[str, Any]  # the source of the arrays, for results.json
    config: ConfigDict  # ``data`` describes the images that the network expects

    def logits(self, variables: Any, image: jax.Array) -> jax.Array:
        """Returns float32 logits [N, K] of uint8 images [N, H, W, C]."""
        data = self.config.data
        image = normalise(image, data)
        return self.model.apply(variables, image, train=False)


def load(
    given: Mapping[str, Any],
    config: ConfigDict,
    dataset: Dataset | None,
    mesh: Mesh,
    run: Run,
) -> Network:
    """Returns the network that the options of eval.py name.

    A file of weights may be fetched, and its results get a directory.

    Raises:
      UsageError: as ``from_checkpoint`` and ``from_file``.
      RunError: the checkpoint is damaged.
    """
    if "weights" not in given:
        which, averaged = given.get("checkpoint", "best"), "average" in given
        return from_checkpoint(run, which, config, mesh, averaged=averaged)
    file = local_path(given["weights"], run.screen)
    network = from_file(file, dataset, config, mesh, run.screen)
    if not given.keys() & {"export", "features"}:  # those have their own file
        run_directory.create(run.workdir, config, network.class_names, ())
    return network


def from_checkpoint(
    run: Run, which: str, config: ConfigDict, mesh: Mesh, *, averaged: bool = False
) -> Network:
    """Restores a checkpoint of a run: ``best``, ``last`` or a step.

    If ``averaged``, the parameters are their average.

    Raises:
      UsageError: there is no such checkpoint, it belongs to another network, or the run
        keeps no average.
      RunError: the checkpoint is damaged.
    """
    if averaged and config.optim.average == "none":
        raise UsageError(
            f"--average: {run.workdir} keeps no average of the parameters; train with "
            "--config.optim.average=ema, or leave it out"
        )
    names = read_classes(run.workdir)
    normalisation.read(run.workdir, config.data)
    run.screen.say("model", describe_network(config, len(names)))
    model = build_model(config, len(names), loops=False)
    shapes = abstract(variable_shapes(model, config.data), model, mesh)
    variables, step = open_checkpoints(run).restore_variables(
        shapes, which, averaged=averaged
    )
    run.screen.say("restored", f"step {step}" + ", the average" * averaged)
    path = exact_statistics.path_of(run.workdir, step, averaged=averaged)
    processes.check_same(str(path), str(path.is_file()))
    variables, measured = exact_statistics.read(run, config, variables, path)
    origin: dict[str, Any] = {"checkpoint_step": step, **measured}
    if averaged:
        origin["parameters"] = "average"
    return Network(model, variables, names, origin, config)


def from_file(
    path: str, dataset: Dataset | None, config: ConfigDict, mesh: Mesh, screen: Screen
) -> Network:
    """Reads a file of weights for the network of a recipe.

    Without a data set, the recipe's data names the classes. If the weights expect a
    certain mean and standard deviation, these replace the recipe's.

    Raises:
      UsageError: there is no such file, or it does not fit the network.
    """
    weights = read_weights(path, config.model.name)
    config = _with_fields(config, weights, screen)
    config = _with_channels(config, weights, screen)
    names = dataset.class_names if dataset else _class_names_of_data(config, screen)
    screen.say("model", describe_network(config, len(names)))
    model = build_model(config, len(names), loops=False)
    if hasattr(model, "aux_heads"):  # the file may have none: only training uses them
        has_aux = any(name.startswith("aux") for name in weights.variables["params"])
        model = model.clone(aux_heads=has_aux)
    try:
        check_fit(weights.variables, variable_shapes(model, config.data))
    except UsageError as error:
        # An array of another shape may be the head, for other classes.
        has_others = "of another shape" in str(error)
        classes = f"; the data has {len(names)} classes" * has_others
        raise UsageError(f"--weights={path}: {error}{classes}") from None
    screen.say("restored", path)
    origin: dict[str, Any] = {"weights": path, **weights.fields}
    for key, values in (("mean", weights.mean), ("std", weights.std)):
        if not values or len(values) != config.data.channels:
            continue
        if values != tuple(config.data[key]):
            screen.say("", f"{key} {values}, as these weights expect")
            config = settings.derive(config, {f"data.{key}": values})
            origin[key] = values  # config.json has the recipe's
    for key in ("mean", "std"):
        if not config.data[key]:
            raise UsageError(
                f"--config.data.{key}: must be given, as the recipe counts it from the "
                "training images; copy it from config.json of the run of these weights"
            )
    variables = jax.device_put(weights.variables, replicated(mesh))
    return Network(model, variables, names, origin, config)


def _with_fields(config: ConfigDict, weights: Weights, screen: Screen) -> ConfigDict:
    """Makes the network that of the weights, beyond their arrays."""
    for field, value in weights.fields.items():
        if config.model.fields.get(field, False) != value:
            screen.say("", f"{field} {value}, as these weights expect")
            config = settings.derive(config, {f"model.fields.{field}": value})
    return config


def _with_channels(config: ConfigDict, weights: Weights, screen: Screen) -> ConfigDict:
    """Replaces the recipe's mean image, which a file of weights does not have."""
    name = config.data.normalisation
    if name == "channels":
        return config
    if not (weights.mean and weights.std):
        raise UsageError(
            f"--config.data.normalisation={name}: its numbers are with the run of the "
            "weights; give --workdir instead of --weights, or write "
            "--config.data.normalisation=channels if the weights expect that"
        )
    screen.say("", f"the mean of each channel, not {name}, as these weights expect")
    return settings.derive(config, {"data.normalisation": "channels"})


def _class_names_of_data(config: ConfigDict, screen: Screen) -> tuple[str, ...]:
    """Returns the class names of a recipe's data; ImageNet itself is not needed."""
    if config.data.source == "tfds" and config.data.name == "imagenet2012":
        return records.imagenet_class_names()
    return load_dataset(config.data, Use(screen, split="train")).class_names
