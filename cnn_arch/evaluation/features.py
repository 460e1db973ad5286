"""What a layer makes of every example of a split, for use outside this project."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psutil
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from cnn_arch.data.device import normalise
from cnn_arch.data.opening import say_skipped
from cnn_arch.data.sources import Source
from cnn_arch.errors import UsageError
from cnn_arch.evaluation.network import Network
from cnn_arch.evaluation.one_crop import Evaluator
from cnn_arch.files import replacing
from cnn_arch.models import layer_output
from cnn_arch.screen import Screen


def output_path(output: str | None, layer: str | None) -> Path:
    """Returns the file for a layer's outputs.

    Args:
      output: that the user has given; None: LAYER.npz.
      layer: its path, such as ``inception_4a/3x3``; None: no outputs are written.

    Raises:
      UsageError: it is of another kind, or not needed.
    """
    if output and not layer:
        raise UsageError(f"--output={output}: goes with --features=LAYER")
    path = Path(output or f"{layer}.npz".replace("/", "-"))
    if path.suffix != ".npz":
        raise UsageError(f"--output={output}: must end in .npz")
    return path


def write(
    path: Path, arrays: dict[str, np.ndarray], names: tuple[str, ...], screen: Screen
) -> dict[str, Any]:
    """Writes a layer's outputs as .npz, with the names of the data's classes.

    Args:
      path: of the file.
      arrays: from ``extract``.
      names: of the classes.
      screen: told what was written.

    Returns:
      The file and the shape of ``features``.
    """
    with replacing(path) as draft:
        np.savez(draft, allow_pickle=False, class_names=np.array(names), **arrays)
    shapes = list(arrays["features"].shape)
    screen.say("wrote", f"{path}   features {shapes}, label, index", last=True)
    return {"file": str(path), "features": shapes}


def extract(
    layer: str, network: Network, source: Source, mesh: Mesh, screen: Screen
) -> dict[str, np.ndarray]:
    """Returns a layer's output for every example of a split, in the split's order.

    Args:
      layer: its path: ``fc7``, ``inception_4a/3x3``.
      network: the network.
      source: the split, not necessarily of the data that it was trained on.
      mesh: the devices.
      screen: told the shape, the progress and what could not be read.

    Returns:
      ``features`` float32 [N, ...], ``label`` int32 [N], ``index`` int64 [N], the
      examples' places in the split.

    Raises:
      UsageError: there is no such layer, or too little memory.
    """
    shape = _output_shape(network, layer, len(source))
    screen.say("features", f"{layer}, {list(shape)} an image")
    data = network.config.data

    def device_step(variables: Any, batch: dict[str, jax.Array]):
        image = normalise(batch["image"], data.mean, data.std)
        output = layer_output(network.model, variables, image, layer)
        return {"features": output.astype(jnp.float32), "label": batch["label"]}

    step = jax.jit(
        jax.shard_map(
            device_step,
            mesh=mesh,
            in_specs=(P(), P("data")),
            out_specs=P("data"),
            check_vma=False,
        )
    )
    evaluator = Evaluator(network.config, network.model, mesh)
    num_batches = -(-len(source) // evaluator.batch_size)
    with screen.progress("features", num_batches) as progress:
        arrays, skipped = evaluator.apply(
            step, network.variables, source, progress.advance
        )
    say_skipped(skipped, screen)
    return arrays


def _output_shape(network: Network, layer: str, num_examples: int) -> tuple[int, ...]:
    """Returns the shape of a layer's output for one image, if memory suffices."""
    size, channels = network.config.data.image_size, network.config.data.channels
    image = jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)
    try:
        output = jax.eval_shape(
            lambda variables, image: layer_output(
                network.model, variables, image, layer
            ),
            network.variables,
            image,
        )
    except UsageError as error:
        raise UsageError(f"--features={error}") from None
    shape = output.shape[1:]
    num_bytes = 2 * 4 * num_examples * int(np.prod(shape))  # batches, then one array
    free = psutil.virtual_memory().available
    if num_bytes > free:
        raise UsageError(
            f"--features={layer}: {num_examples:,} outputs {shape} take "
            f"{num_bytes / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free; "
            "choose a later layer"
        )
    return shape
