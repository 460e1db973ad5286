"""Features: the output of one layer for every example of a split, as a file."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from cnn_arch.data.normalisation import normalise
from cnn_arch.data.sources import Source
from cnn_arch.data.views import eval_size
from cnn_arch.errors import UsageError
from cnn_arch.evaluation.network import Network
from cnn_arch.evaluation.one_crop import OneCrop
from cnn_arch.files import replacing
from cnn_arch.models import layer_output
from cnn_arch.parallel import memory
from cnn_arch.screen import Screen


def write(
    path: str, arrays: dict[str, np.ndarray], names: tuple[str, ...], screen: Screen
) -> dict[str, Any]:
    """Writes the arrays of ``extract`` and the class names as .npz.

    Returns:
      The file and the shape of ``features``.
    """
    with replacing(Path(path)) as draft:
        np.savez(draft, allow_pickle=False, class_names=np.array(names), **arrays)
    shape = list(arrays["features"].shape)
    screen.say("wrote", f"{path}   features {shape}, label, index", last=True)
    return {"file": path, "features": shape}


def extract(
    layer: str, network: Network, source: Source, mesh: Mesh, screen: Screen
) -> dict[str, np.ndarray]:
    """Returns a layer's output for every example of a split, in the split's order.

    A layer is given by its path, such as ``fc7`` or ``inception_4a/3x3``. The split may
    belong to other data than the training.

    Returns:
      ``features`` float32 [N, ...], ``label`` int32 [N], and ``index`` int64 [N], the
      position of each example in the split.

    Raises:
      UsageError: there is no such layer, or not enough memory.
    """
    shape = _output_shape(network, layer, len(source))
    screen.say("features", f"{layer}, {list(shape)} per image")
    data = network.config.data

    def device_step(variables: Any, batch: dict[str, jax.Array]):
        image = normalise(batch["image"], data)
        output = layer_output(network.model, variables, image, layer)
        return {"features": output.astype(jnp.float32), "label": batch["label"]}

    evaluator = OneCrop(network.config, network.model, mesh)
    variables = evaluator.fold(network.variables, keep=layer)
    return evaluator.outputs(device_step, variables, source, screen)


def _output_shape(network: Network, layer: str, num_examples: int) -> tuple[int, ...]:
    """Returns the shape of a layer's output for one image, if memory suffices."""
    data = network.config.data
    size, channels = eval_size(data), data.channels
    image = jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)
    output_of = partial(layer_output, network.model, layer=layer)
    try:
        output = jax.eval_shape(output_of, network.variables, image)
    except UsageError as error:
        raise UsageError(f"--features={error}") from None
    shape = output.shape[1:]
    # float32, twice: as batches and as one array.
    num_bytes = 2 * 4 * num_examples * int(np.prod(shape))
    free = memory.available()
    if num_bytes > free:
        raise UsageError(
            f"--features={layer}: {num_examples:,} outputs {shape} need "
            f"{num_bytes / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free; "
            "choose a later layer"
        )
    return shape
