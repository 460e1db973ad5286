"""What is measured of a run: numbers with units, read from its files."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cnn_arch.experiments import by_layer, epochs, rules, speeds
from cnn_arch.experiments.rules import Value
from cnn_arch.run_directory import read_divergence


@dataclasses.dataclass(frozen=True)
class Axis:
    """An axis of a figure, for measures that differ in their argument."""

    label: str
    values: str  # the label of the other axis
    scale: str = "linear"  # of Matplotlib: linear, log
    # Of an argument; None: the arguments stand side by side, in the file's order.
    place: Callable[[str], float] | None = None


@dataclasses.dataclass(frozen=True)
class Measure:
    """A number of a run, or of the runs of a group together."""

    label: str  # on axes and in tables; {} is the argument
    unit: str  # "" if it has none
    # Of a run directory and the argument, or ""; None: the machine does not say.
    of: Callable[[Any, str], Value | None]
    arguments: tuple[str, ...] = ()  # those that there are; (): any
    is_joint: bool = False  # of a group: ``of`` gets the directories of its runs
    axis: Axis | None = None
    of_diverged: bool = False  # a run whose loss is not finite has it too
    on_logarithms: bool = False  # seeds differ by factors: a geometric mean


@dataclasses.dataclass(frozen=True)
class Series:
    """A number of each layer of a run's network, in the network's order."""

    label: str  # on an axis; {} is the argument
    of: Callable[[Path, str], dict[str, float]]
    arguments: tuple[str, ...] = ()  # those that there are; (): any


def find(text: str) -> tuple[Measure, str]:
    """Returns a measure and its argument: ``NAME`` or ``NAME:ARGUMENT``.

    Raises:
      KeyError: there is no such measure, or no such argument.
    """
    return _find(MEASURES, text)


def find_series(text: str) -> tuple[Series, str]:
    """Returns a series and its argument, as ``find`` does."""
    return _find(SERIES, text)


def _find(known: Mapping[str, Any], text: str) -> tuple[Any, str]:
    name, _, argument = text.partition(":")
    measure = known[name]
    if measure.arguments and argument not in measure.arguments:
        raise KeyError(f"{text}: the argument is {' or '.join(measure.arguments)}")
    return measure, argument


def take(text: str, source: Path | Sequence[Path]) -> Value | None:
    """Returns a measure of a finished run, or a joint measure of several.

    It is None if it is not available here.
    """
    measure, argument = find(text)
    return measure.of(source, argument)


def is_joint(text: str) -> bool:
    """Whether a measure is of the runs of a group together."""
    return find(text)[0].is_joint


def take_series(text: str, workdir: Path) -> dict[str, float]:
    """Returns a series of a finished run."""
    series, argument = find_series(text)
    return series.of(workdir, argument)


def axis_of(text: str) -> Axis | None:
    """Returns the axis of a measure, if it has one."""
    return find(text)[0].axis


def places(texts: Sequence[str]) -> dict[str, float]:
    """Returns the place of each measure on the axis of all of them."""
    found: dict[str, float] = {}
    for number, text in enumerate(texts):
        measure, argument = find(text)
        assert measure.axis, text
        own = measure.axis.place
        found[text] = own(argument) if own else number
    return found


def tick(text: str) -> str:
    """Returns the name of a measure's place on its axis."""
    measure, argument = find(text)
    assert measure.axis, text
    own = measure.axis.place
    return f"{own(argument):g}" if own else argument


def label(text: str) -> str:
    """Returns the label of a measure or a series, without its unit."""
    measure, argument = _find({**MEASURES, **SERIES}, text)
    return measure.label.format(argument.replace("_", " "))


def with_unit(text: str) -> str:
    """Returns the label of a measure, with its unit and its kind of mean."""
    measure, _ = find(text)
    mean = "geometric mean" * measure.on_logarithms
    return ", ".join(filter(None, (label(text), measure.unit, mean)))


def interval(text: str, values: Sequence[Value]) -> tuple[float, float, float]:
    """Returns the mean of a measure's numbers and its 95 % interval over the seeds."""
    return rules.interval(values, of_logarithms=find(text)[0].on_logarithms)


def _training_error(workdir: Path, _: str) -> float:
    return float(epochs.rows(workdir)[-1]["train_top1_error"])


def _error(workdir: Path, split: str, protocol: str = "one_crop") -> float:
    from cnn_arch.experiments import evaluations

    return evaluations.results(workdir, split, protocol)["top1_error"]


def _test_error(workdir: Path, _: str) -> float:
    if read_divergence(workdir):
        return epochs.chance(workdir)
    return _error(workdir, "test")


def _error_by(workdir: Path, protocol: str) -> float:
    return _error(workdir, "test", protocol)


def _ensemble_error(workdirs: Sequence[Path], number: str) -> float:
    from cnn_arch.experiments import evaluations

    return evaluations.ensemble_error(workdirs, int(number))


def _probe_error(workdir: Path, layer: str) -> float:
    from cnn_arch.experiments import probe

    return probe.error_of_run(workdir, layer)


def _gap(workdir: Path, _: str) -> float:
    return _test_error(workdir, _) - _training_error(workdir, _)


def _gap_of_trained(workdir: Path, _: str) -> float:
    """Evaluates the network on the training images, as it was on those of the test."""
    return _error(workdir, "test") - _error(workdir, "train")


def _steps_to(workdir: Path, goal: str) -> Value:
    """Returns the step at which a training error is reached, between two epochs."""
    rows = epochs.rows(workdir)
    steps = [float(row["step"]) for row in rows]
    return epochs.first_below(
        float(goal), steps, epochs.column(rows, "train_top1_error")
    )


def _minutes_to(workdir: Path, goal: str) -> Value:
    """Returns the minutes until a validation error is reached, between two epochs."""
    rows = epochs.rows(workdir)
    times = [
        sum(epochs.column(rows[: end + 1], "seconds")) / 60 for end in range(len(rows))
    ]
    return epochs.first_below(
        float(goal), times, epochs.column(rows, "validation_top1_error")
    )


# Crops of an image, by protocol; cnn_arch/data/boxes.py has their places.
CROPS = {"one_crop": 1, "ten_crop": 10, "googlenet_144": 144, "multi_crop": 150}
_CROPS = Axis(
    "crops of an image; the cost is in proportion",
    "test error, %",
    "log",
    CROPS.__getitem__,
)
_MEMBERS = Axis(
    "networks whose probabilities are averaged", "test error, %", "linear", int
)

_LAYERS = Axis("layer that the probe reads", "test error of a linear probe, %")

# Of a forward pass, by the number of images in a batch.
_SPEEDS = {
    "milliseconds": ("time of an image, batches of {}", "ms"),
    "images_per_second": ("images a second, batches of {}", ""),
    "joules": ("energy of an image, batches of {}", "J"),
    "watts": ("power, batches of {}", "W"),
}
MEASURES = {
    **{
        key: Measure(label, unit, partial(speeds.speed, key=key))
        for key, (label, unit) in _SPEEDS.items()
    },
    "published_error": Measure("published top-1 error", "%", speeds.published_error),
    "training_error": Measure(
        "training error, last epoch", "%", _training_error, of_diverged=True
    ),
    "first_loss": Measure("loss of the first batch", "nats", epochs.first_loss),
    "test_error": Measure("test error", "%", _test_error, of_diverged=True),
    "test_error_by": Measure(
        "test error, {}", "%", _error_by, tuple(CROPS), axis=_CROPS
    ),
    "ensemble_error": Measure(
        "test error of an ensemble of {}",
        "%",
        _ensemble_error,
        is_joint=True,
        axis=_MEMBERS,
    ),
    "probe_error": Measure(
        "test error of a probe: {}", "%", _probe_error, axis=_LAYERS
    ),
    "gap": Measure("test error - training error", "points", _gap),
    "gap_of_trained": Measure(
        "test error - error on training images", "points", _gap_of_trained
    ),
    "steps_to_training_error": Measure(
        "steps to a training error of {} %", "steps", _steps_to, of_diverged=True
    ),
    "minutes_to_validation_error": Measure(
        "minutes to a validation error of {} %", "minutes", _minutes_to
    ),
    "parameters": Measure("parameters", "", speeds.parameters, of_diverged=True),
    "macs": Measure("multiply-adds", "million", speeds.million_macs, of_diverged=True),
    "memory": Measure(
        "memory of an image's maps", "MB", speeds.megabytes_of_maps, of_diverged=True
    ),
    "response": Measure(
        "{} deviation of the responses", "", by_layer.response, by_layer.SUMMARIES
    ),
    "gradient_ratio": Measure(
        "first layer's gradient / last layer's, {}",
        "",
        by_layer.gradient_ratio,
        by_layer.MOMENTS,
        on_logarithms=True,
    ),
    "first_gradient": Measure(
        "norm of the first layer's gradient, {}",
        "",
        by_layer.first_gradient,
        by_layer.MOMENTS,
        on_logarithms=True,
    ),
}

SERIES = {
    "responses": Series("deviation of the layer's response", by_layer.responses),
    "layer_gradients": Series(
        "norm of the layer's gradient, {}", by_layer.gradients, by_layer.MOMENTS
    ),
}
