"""What a network says of a user's own pictures."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from cnn_arch.data.device import normalise
from cnn_arch.data.views import find_images, load_images
from cnn_arch.evaluation.network import Trained
from cnn_arch.report import plots
from cnn_arch.screen import Screen, printable

NUM_NAMED = 5  # classes told for each picture


def classify(
    path: str,
    network: Trained,
    config: ConfigDict,
    workdir: Path,
    screen: Screen,
) -> dict[str, list[dict[str, Any]]]:
    """Classifies a picture or a folder of them, tells the answer and draws it.

    Args:
      path: of the file or folder.
      network: the network.
      config: ``batch_size`` and ``data`` are read.
      workdir: where plots/predictions.png is drawn.
      screen: where it is told.

    Returns:
      For each file its most probable classes: ``{"class": ..., "probability": ...}``.

    Raises:
      UsageError: there is no picture, or one is not readable.
    """

    @jax.jit
    def probabilities_of(variables: Any, images: jax.Array) -> jax.Array:
        images = normalise(images, config.data.mean, config.data.std)
        logits = network.model.apply(variables, images, train=False)
        return jax.nn.softmax(logits)

    class_names, size = network.class_names, config.batch_size
    files = find_images(path)
    images = load_images(files, config.data)
    probabilities = np.concatenate(
        [
            np.asarray(probabilities_of(network.variables, images[i : i + size]))
            for i in range(0, len(images), size)
        ]
    )
    ranks = np.argsort(-probabilities, axis=-1, kind="stable")[:, :NUM_NAMED]
    answer = {}
    for file, row, rank in zip(files, probabilities, ranks, strict=True):
        answer[file] = [
            {"class": class_names[k], "probability": float(row[k])} for k in rank
        ]
        likely = ", ".join(
            f"{printable(class_names[k], 24)} {100 * row[k]:.1f} %" for k in rank[:3]
        )
        screen.row(f"{printable(file)}  {likely}", last=True)
    picture = workdir / "plots" / "predictions.png"
    plots.predictions(
        picture,
        images,
        [[class_names[k] for k in rank] for rank in ranks],
        np.take_along_axis(probabilities, ranks, axis=-1),
        files,
    )
    screen.say("wrote", str(picture))
    return answer
