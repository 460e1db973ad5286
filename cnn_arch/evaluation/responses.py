"""How strongly each 3x3 layer responds: the deviation of its outputs over many images.

As Figure 7 of He et al. 2015, "Deep Residual Learning for Image Recognition"
(https://arxiv.org/abs/1512.03385): "Standard deviations (std) of layer responses on
CIFAR-10", where a response is "after BN and before other nonlinearity (ReLU/addition)"
(Section 4.2). In a residual network this is the strength of the residual functions.

A deviation is over all images, positions and channels of a layer. The paper does not
say on which images, nor with which statistics of BatchNorm: here they are the images of
any split as the network is evaluated on them, and the statistics of evaluation.
"""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from cnn_arch import run_directory
from cnn_arch.data.normalisation import normalise
from cnn_arch.data.sources import Source
from cnn_arch.datasets.opening import Use, open_split
from cnn_arch.evaluation.network import Network, from_checkpoint
from cnn_arch.evaluation.one_crop import OneCrop
from cnn_arch.models.inspection import responses
from cnn_arch.screen import Screen


def of_run(
    workdir: Path,
    mesh: Mesh,
    screen: Screen,
    split: str = "test",
    num_images: int | None = None,
) -> dict[str, float]:
    """Returns ``deviations`` of the best network of a run.

    They are over at most ``num_images`` of a split, evenly spaced; None: over all.

    Raises:
      UsageError: there is no such run, or as ``deviations``.
      RunError: its checkpoint is damaged.
    """
    given = {"workdir": str(workdir)}
    config, run = run_directory.find_trained((), given, screen, None)
    dataset = open_split(config, Use.of_evaluation(screen, run.workdir, split, given))
    network = from_checkpoint(run, "best", config, mesh)
    source = dataset.splits[split]
    chosen = source.take(spaced(len(source), num_images))
    return deviations(network, chosen, mesh, screen)


def spaced(length: int, limit: int | None) -> np.ndarray:
    """Returns at most so many positions in a split; None: all.

    They are evenly spaced, as a folder's images are in the order of their classes.
    """
    step = math.ceil(length / limit) if limit else 1
    return np.arange(0, length, step)


def deviations(
    network: Network, source: Source, mesh: Mesh, screen: Screen
) -> dict[str, float]:
    """Returns the standard deviation of each 3x3 layer's response, by layer.

    The layers are in the order of the forward pass. The devices compute the mean and
    the variance of each image, float32; here they become those of all images, float64.

    Raises:
      UsageError: a layer cannot be measured, see ``responses``.
      RunError: no image could be read.
    """
    data = network.config.data
    names: list[str] = []  # filled while the step is traced

    def device_step(variables: Any, batch: dict[str, jax.Array]):
        found = responses(network.model, variables, normalise(batch["image"], data))
        names[:] = found
        moments = [_moments(response) for response in found.values()]
        means, variances = zip(*moments, strict=True)
        # [B, number of layers]
        return {"mean": jnp.stack(means, 1), "variance": jnp.stack(variances, 1)}

    evaluator = OneCrop(network.config, network.model, mesh)
    arrays = evaluator.outputs(device_step, network.variables, source, screen)
    means, variances = (arrays[key].astype(np.float64) for key in ("mean", "variance"))
    # Within images and between them: each image has as many outputs of a layer.
    deviation = np.sqrt(variances.mean(axis=0) + means.var(axis=0))
    return dict(zip(names, deviation.tolist(), strict=True))


def summarise(found: dict[str, float]) -> dict[str, float]:
    """Returns the mean, the median and the largest deviation over the layers."""
    values = np.array(list(found.values()))
    return {
        "mean_deviation": float(values.mean()),
        "median_deviation": float(np.median(values)),
        "largest_deviation": float(values.max()),
    }


def _moments(response: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the mean and the variance of each image's outputs, float32 [B]."""
    outputs = response.reshape(len(response), -1).astype(jnp.float32)
    mean = outputs.mean(axis=1, keepdims=True)
    return mean[:, 0], jnp.square(outputs - mean).mean(axis=1)
