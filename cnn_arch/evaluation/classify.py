"""Classification of a user's own pictures."""

from typing import Any

import jax
import numpy as np

from cnn_arch.data.views import find_images, load_images
from cnn_arch.evaluation.network import Network
from cnn_arch.report import plots
from cnn_arch.run_directory import Run
from cnn_arch.screen import printable

NUM_NAMED = 5  # classes listed for each picture


def classify(path: str, network: Network, run: Run) -> dict[str, list[dict[str, Any]]]:
    """Classifies a picture or a folder of pictures, and draws the answers.

    Returns:
      For each file its most probable classes: ``{"class": ..., "probability": ...}``.

    Raises:
      UsageError: there is no picture, or a picture cannot be read.
    """
    files = find_images(path)
    images = load_images(files, network.config.data)
    probabilities = _probabilities(network, images)
    ranks = np.argsort(-probabilities, axis=-1, kind="stable")[:, :NUM_NAMED]
    probabilities = np.take_along_axis(probabilities, ranks, axis=-1)
    names = [[network.class_names[k] for k in rank] for rank in ranks]
    answer = {}
    for file, classes, row in zip(files, names, probabilities, strict=True):
        found = list(zip(classes, row, strict=True))
        answer[file] = [{"class": name, "probability": float(p)} for name, p in found]
        likely = ", ".join(
            f"{printable(name, 24)} {100 * p:.1f} %" for name, p in found[:3]
        )
        run.screen.row(f"{printable(file)}  {likely}", last=True)
    picture = run.workdir / "plots" / "predictions.png"
    plots.predictions(picture, images, names, probabilities, files)
    run.screen.say("wrote", str(picture))
    return answer


def _probabilities(network: Network, images: np.ndarray) -> np.ndarray:
    """Returns the probability of each class: uint8 [N, H, W, C] -> float32 [N, K]."""
    size = network.config.batch_size

    @jax.jit
    def probabilities_of(variables: Any, images: jax.Array) -> jax.Array:
        return jax.nn.softmax(network.logits(variables, images))

    batches = [images[i : i + size] for i in range(0, len(images), size)]
    return np.concatenate(
        [np.asarray(probabilities_of(network.variables, batch)) for batch in batches]
    )
