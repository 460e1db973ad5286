"""Numbers of each layer of a run's network: gradients and responses.

A function gets the run directory and the argument of a measure or a series.
"""

from pathlib import Path

MOMENTS = "first_step", "last_epoch"  # of a gradient: the latter is a mean
SUMMARIES = "mean", "median", "largest"  # of the responses, over the layers


def gradients(workdir: Path, moment: str) -> dict[str, float]:
    """Returns the norm of each layer's gradient, without auxiliary heads."""
    from cnn_arch.training import layer_gradients

    at = {
        "first_step": layer_gradients.at_first_step,
        "last_epoch": layer_gradients.mean_of_epoch,
    }
    return layer_gradients.main_layers(at[moment](workdir))


def gradient_ratio(workdir: Path, moment: str) -> float:
    """Returns the norm of the first layer's gradient, divided by the last's."""
    from cnn_arch.training import layer_gradients

    return layer_gradients.measure(workdir)[f"{moment}_ratio"]


def first_gradient(workdir: Path, moment: str) -> float:
    """Returns the norm of the first layer's gradient."""
    return next(iter(gradients(workdir, moment).values()))


def responses(workdir: Path, _: str) -> dict[str, float]:
    """Returns the deviation of each 3x3 layer's response: see ``evaluations``."""
    from cnn_arch.experiments import evaluations

    return evaluations.response_deviations(workdir)


def response(workdir: Path, summary: str) -> float:
    """Returns the mean, the median or the largest deviation of the layers."""
    from cnn_arch.evaluation.responses import summarise

    return summarise(responses(workdir, ""))[f"{summary}_deviation"]
