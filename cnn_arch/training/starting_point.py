"""The arrays that a run starts with, if they are not all random: ``init_from``."""

import dataclasses
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from cnn_arch import choices, settings
from cnn_arch.checkpoints.checkpoint import open_checkpoints
from cnn_arch.errors import UsageError
from cnn_arch.models.build import build_model, head_layers, variable_shapes
from cnn_arch.models.vgg import STAGES, VGG, WARM_START
from cnn_arch.ops.loops import unrolled
from cnn_arch.parallel import mesh as meshes
from cnn_arch.run_directory import Run, read_classes
from cnn_arch.training.program import Program
from cnn_arch.weights import download
from cnn_arch.weights.files import Weights, read_fitting
from cnn_arch.weights.names import listed

Arrays = Mapping[tuple[str, ...], Any]  # by their paths: ("params", "conv1", "kernel")


@dataclasses.dataclass(frozen=True)
class Source:
    """A trained network, or a part of one."""

    arrays: Arrays
    mean: tuple[float, ...] | None  # of the pixels that it expects; None: not known
    std: tuple[float, ...] | None
    normalisation: str | None = None  # config.data.normalisation; None: not known
    others: Collection[str] = ()  # names of arrays that are of no known layer
    # Fields of the network with which they were trained.
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    class_names: tuple[str, ...] | None = None  # None: not known


def read(program: Program, class_names: tuple[str, ...], run: Run) -> Arrays:
    """Reads and reports the arrays that a run starts with.

    There are none without ``init_from``, or if the run continues from its own
    checkpoint.

    Raises:
      UsageError: they cannot be read, or none of them fits.
      RunError: the checkpoint of another run is damaged.
    """
    config = program.config
    given = config.init_from
    if not given:
        return {}
    if open_checkpoints(run).last_step() is not None:
        run.screen.say("start", f"{given} when the run began; it is not read again")
        return {}
    path = download.local_path(os.path.expanduser(given), run.screen)
    try:
        if not os.path.exists(path):
            raise UsageError("no such run or file")
        if os.path.isdir(path):
            source = _read_run(Path(path), program.mesh, run)
        else:
            source = _read_file(path, config.model.name)
    except UsageError as error:
        raise UsageError(f"--init_from={given}: {error}") from None
    head = head_layers(config, program.num_classes)
    if source.class_names in (None, class_names):
        kept = source.arrays
    else:  # another meaning of each logit
        kept = {key: x for key, x in source.arrays.items() if key[1:-1] not in head}
    wanted: Arrays = flatten_dict(unrolled(program.variable_shapes))
    taken = fitting(kept, wanted, program.model)
    if not taken:
        raise UsageError(f"--init_from={given}: no array fits {config.model.name}")
    run.screen.say("start", f"{given}: {len(taken)} of {len(wanted)} arrays")
    for line in _differences(source, taken, wanted, head):
        run.screen.say("", line)
    _warn_of_fields(source, config, run)
    _warn_of_pixels(source, config, run)
    return taken


def _read_file(path: str, name: str) -> Source:
    warm = "vgg11_bn" if name.endswith("_bn") else "vgg11"
    names = [name, warm] if name.startswith("vgg") else [name]
    weights, others = read_fitting(path, names)
    known = "channels" if weights.mean else None
    return _source(weights, normalisation=known, others=others)


def _read_run(path: Path, mesh: Any, run: Run) -> Source:
    """Reads the best checkpoint of a run, or else its weights_best.npz."""
    if not (path / "config.json").is_file():
        raise UsageError("no run there, and no file of weights")
    config, names = settings.from_json(path / "config.json"), read_classes(path)
    checkpoints = open_checkpoints(dataclasses.replace(run, workdir=path))
    if checkpoints.best_step() is None:
        file = path / "weights_best.npz"
        if not file.exists():
            raise UsageError("the run has no best checkpoint yet")
        weights, _ = read_fitting(str(file), [config.model.name])
        variables = weights.variables
    else:
        model = build_model(config, len(names), loops=False)
        shapes = variable_shapes(model, config.data)
        shapes = meshes.abstract(shapes, None, mesh)  # every device has all arrays
        variables, _ = checkpoints.restore_variables(shapes)
    data = config.data
    fields = {
        name: value
        for name, value in config.model.fields.items()
        if (key := f"model.fields.{name}") in choices.EARLIER_FIELDS
        and key not in choices.FIELDS_OF_THE_START
    }
    weights = Weights(
        jax.device_get(variables), tuple(data.mean), tuple(data.std), fields
    )
    return _source(weights, normalisation=data.normalisation, class_names=names)


def _source(weights: Weights, **facts: Any) -> Source:
    arrays: Any = flatten_dict(weights.variables)
    return Source(arrays, weights.mean, weights.std, fields=weights.fields, **facts)


def fitting(given: Arrays, wanted: Arrays, model: Any) -> Arrays:
    """Returns the given arrays that fit a network by name and shape.

    A deeper VGG starts from A as the paper says.
    """
    taken = {
        path: array
        for path, array in given.items()
        if path in wanted and np.shape(array) == wanted[path].shape
    }
    layers = {path[1] for path in given}
    is_a = {"conv1_1", "conv5_2"} <= layers and "conv1_2" not in layers
    if isinstance(model, VGG) and is_a and tuple(model.stages) != STAGES["A"]:
        taken = {path: x for path, x in taken.items() if path[1] in WARM_START}
    return taken


def _differences(
    source: Source, taken: Arrays, wanted: Arrays, head: Collection[tuple[str, ...]]
) -> list[str]:
    """Returns lines on the arrays that are not taken."""
    new = wanted.keys() - taken.keys()
    replaced = {path for path in new & source.arrays.keys() if path[1:-1] in head}
    unused = source.arrays.keys() - taken.keys() - replaced
    found = {
        "a new head, as the classes differ": _names(replaced),
        "new": _names(new - replaced),
        "not used": sorted([*_names(unused), *source.others]),
    }
    return [f"{words}: {listed(names)}" for words, names in found.items() if names]


def _names(paths: Collection[tuple[str, ...]]) -> list[str]:
    return sorted("/".join(path[1:]) for path in paths)


def _warn_of_fields(source: Source, config: ConfigDict, run: Run) -> None:
    """Warns if the network differs from that of the arrays, beyond the arrays."""
    for field, value in source.fields.items():
        earlier = choices.EARLIER_FIELDS[f"model.fields.{field}"]
        if config.model.fields.get(field, earlier) != value:
            run.screen.warn(
                f"{config.model.name} differs from the network of "
                f"--init_from={config.init_from}; it is the same with "
                f"--config.model.fields.{field}={str(value).lower()}"
            )


def _warn_of_pixels(source: Source, config: ConfigDict, run: Run) -> None:
    """Warns if the arrays expect images that are normalised in another way."""
    data = config.data
    if source.normalisation not in (None, data.normalisation):
        run.screen.warn(
            f"--init_from={config.init_from} expects data.normalisation="
            f"{source.normalisation}, not {data.normalisation}; write "
            f"--config.data.normalisation={source.normalisation}"
        )
        return
    if data.normalisation != "channels":
        return  # each run has counted its own
    for key, value in (("mean", source.mean), ("std", source.std)):
        if value and len(value) == data.channels and value != tuple(data[key]):
            numbers = ",".join(f"{number:g}" for number in value)
            run.screen.warn(
                f"data.{key} is not that of --init_from={config.init_from}; "
                f'"--config.data.{key}=({numbers},)" is'
            )
