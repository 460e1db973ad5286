"""What a network says of a user's own pictures."""

from typing import Any

import jax
import numpy as np

from cnn_arch.data.device import normalise
from cnn_arch.data.views import find_images, load_images
from cnn_arch.evaluation.network import Network
from cnn_arch.report import plots
from cnn_arch.run_directory import Run
from cnn_arch.screen import printable

NUM_NAMED = 5  # classes named for each picture


def classify(path: str, network: Network, run: Run) -> dict[str, list[dict[str, Any]]]:
    """Classifies a picture or a folder of them, says the answer and draws it.

    Args:
      path: of the file or folder.
      network: the network.
      run: plots/predictions.png is drawn in its directory.

    Returns:
      For each file its most probable classes: ``{"class": ..., "probability": ...}``.

    Raises:
      UsageError: there is no picture, or one is not readable.
    """
    files = find_images(path)
    images = load_images(files, network.config.data)
    probabilities = _probabilities(network, images)
    ranks = np.argsort(-probabilities, axis=-1, kind="stable")[:, :NUM_NAMED]
    class_names, answer = network.class_names, {}
    for file, row, rank in zip(files, probabilities, ranks, strict=True):
        answer[file] = [
            {"class": class_names[k], "probability": float(row[k])} for k in rank
        ]
        likely = ", ".join(
            f"{printable(class_names[k], 24)} {100 * row[k]:.1f} %" for k in rank[:3]
        )
        run.screen.row(f"{printable(file)}  {likely}", last=True)
    picture = run.workdir / "plots" / "predictions.png"
    plots.predictions(
        picture,
        images,
        [[class_names[k] for k in rank] for rank in ranks],
        np.take_along_axis(probabilities, ranks, axis=-1),
        files,
    )
    run.screen.say("wrote", str(picture))
    return answer


def _probabilities(network: Network, images: np.ndarray) -> np.ndarray:
    """Returns the probability of each class: uint8 [N, H, W, C] -> float32 [N, K]."""
    data, size = network.config.data, network.config.batch_size

    @jax.jit
    def probabilities_of(variables: Any, images: jax.Array) -> jax.Array:
        images = normalise(images, data.mean, data.std)
        logits = network.model.apply(variables, images, train=False)
        return jax.nn.softmax(logits)

    parts = [images[i : i + size] for i in range(0, len(images), size)]
    found = [np.asarray(probabilities_of(network.variables, part)) for part in parts]
    return np.concatenate(found)
