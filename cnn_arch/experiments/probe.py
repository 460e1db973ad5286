"""A linear probe: how much a linear classifier learns from fixed features.

It is ridge regression to one-hot targets, in closed form: no step size, no early
stopping, and the same answer each time. The strength of its penalty is that with the
lowest error on validation images. G. Alain and Y. Bengio, "Understanding intermediate
layers using linear classifier probes", 2016, https://arxiv.org/abs/1610.01644.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from cnn_arch import run_directory, settings
from cnn_arch.data.normalisation import normalise
from cnn_arch.data.sources import Source
from cnn_arch.datasets.dataset import load_dataset
from cnn_arch.evaluation import features
from cnn_arch.evaluation.network import Network, from_checkpoint
from cnn_arch.evaluation.one_crop import OneCrop
from cnn_arch.experiments import halves
from cnn_arch.parallel.runtime import open_devices
from cnn_arch.screen import Screen

PIXELS = "pixels"  # the images as the network gets them, in place of a layer
MOST = 4000  # training images, drawn at random if there are more
STRENGTHS = 10.0 ** np.arange(-5, 3)  # times the mean square of a singular value

Split = tuple[np.ndarray, np.ndarray]  # features [N, D], labels [N]


def error_of_run(workdir: Path, layer: str) -> float:
    """Returns the test error of a probe in percent, on classes that a run did not see.

    The probe is of the best network of a run that trained on the first half of the
    classes; it is fitted to the training images of the second half, and tested on its
    test images.

    Raises:
      UsageError: there is no such run or layer, or its data is gone.
    """
    given, screen = {"workdir": str(workdir)}, Screen(muted=True)
    config, run = run_directory.find_trained((), given, screen, None)
    mesh = open_devices(config, screen)
    network = from_checkpoint(run, "best", config, mesh)
    other = {"data.dir": str(halves.other(config.data.dir)), "data.num_classes": 0}
    splits = load_dataset(settings.derive(config, other).data).splits
    chosen = np.random.default_rng(0).permutation(len(splits["train"]))[:MOST]
    sources = {**splits, "train": splits["train"].take(np.sort(chosen))}
    train, validation, test = (
        _features(layer, network, sources[split], mesh)
        for split in ("train", "validation", "test")
    )
    return error(train, validation, test)


def error(train: Split, validation: Split, test: Split) -> float:
    """Returns the error of a probe in percent."""
    solutions = ridge(*train, STRENGTHS)
    best = min(solutions, key=lambda solution: _error(solution, validation))
    return _error(best, test)


def ridge(
    inputs: np.ndarray, labels: np.ndarray, strengths: Iterable[float]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the weights [D, K] and the biases [K] of linear classifiers.

    They minimise the squared distance to one-hot targets and the penalty: a strength
    times the mean squared singular value of the centred inputs times the squared
    weights; there is no penalty on the biases.

    Args:
      inputs: float [N, D].
      labels: 0 to K - 1, int [N].
      strengths: above 0, one for each classifier.
    """
    targets = np.eye(labels.max() + 1)[labels]
    center, mean = inputs.mean(axis=0), targets.mean(axis=0)
    centered = inputs - center
    # In the smaller of the two spaces: images or features.
    is_wide = centered.shape[1] > len(centered)
    gram = centered @ centered.T if is_wide else centered.T @ centered
    right = targets - mean if is_wide else centered.T @ (targets - mean)
    diagonal = np.eye(len(gram)) * np.trace(gram) / len(gram)
    solutions = []
    for strength in strengths:
        weights = np.linalg.solve(gram + strength * diagonal, right)
        weights = centered.T @ weights if is_wide else weights
        solutions.append((weights, mean - center @ weights))
    return solutions


def _error(solution: tuple[np.ndarray, np.ndarray], split: Split) -> float:
    (weights, biases), (inputs, labels) = solution, split
    wrong = (inputs @ weights + biases).argmax(axis=1) != labels
    return 100 * float(wrong.mean())


def _features(layer: str, network: Network, source: Source, mesh: Mesh) -> Split:
    """Returns a layer's outputs, float64 [N, D], and the labels."""
    screen = Screen(muted=True)
    if layer == PIXELS:
        data = network.config.data

        def device_step(variables: Any, batch: dict[str, jax.Array]):
            image = normalise(batch["image"], data)
            return {"features": image, "label": batch["label"]}

        evaluator = OneCrop(network.config, network.model, mesh)
        arrays = evaluator.outputs(device_step, network.variables, source, screen)
    else:
        arrays = features.extract(layer, network, source, mesh, screen)
    found = arrays["features"]
    return found.reshape(len(found), -1).astype(np.float64), arrays["label"]
