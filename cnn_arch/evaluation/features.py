"""What a layer makes of every example of a split, for use outside this project."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psutil
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict

from cnn_arch.data.device import normalise
from cnn_arch.data.sources import Dataset, Source
from cnn_arch.errors import UsageError
from cnn_arch.evaluation.network import Trained
from cnn_arch.evaluation.one_crop import judge_split
from cnn_arch.files import replacing
from cnn_arch.models import layer_output
from cnn_arch.screen import Screen


def write_features(
    output: str,
    network: Trained,
    layer: str,
    dataset: Dataset,
    split: str,
    config: ConfigDict,
    mesh: Mesh,
    screen: Screen,
) -> dict[str, Any]:
    """Writes a layer's output for every example of a split as .npz.

    The file holds ``features`` float32 [N, ...], ``label`` int32 [N], ``index`` int64
    [N], the examples' places in the split, and ``class_names`` of the data.

    Args:
      output: the file.
      network: the network.
      layer: path of the layer: ``fc7``, ``inception_4a/3x3``.
      dataset: the data, not necessarily that of the training.
      split: a key of ``dataset.splits``.
      config: ``batch_size`` and ``data`` are read.
      mesh: the devices.
      screen: where it is told.

    Returns:
      The file and the shape of ``features``.

    Raises:
      UsageError: there is no such layer, or too little memory.
    """
    path, source = Path(output), dataset.splits[split]
    if path.suffix != ".npz":
        raise UsageError(f"--output={output}: must end in .npz")
    shape = _output_shape(network, layer, config, len(source))
    screen.say("features", f"{layer}, {list(shape)} an image")
    arrays = extract(network, layer, source, config, mesh, screen)
    names = np.array(dataset.class_names)
    with replacing(path) as draft:
        np.savez(draft, allow_pickle=False, class_names=names, **arrays)
    shapes = list(arrays["features"].shape)
    screen.say("wrote", f"{path}   features {shapes}, label, index", last=True)
    return {"file": output, "features": shapes}


def _output_shape(
    network: Trained, layer: str, config: ConfigDict, num_examples: int
) -> tuple[int, ...]:
    """Returns the shape of a layer's output for one image, if memory suffices."""
    size, channels = config.data.image_size, config.data.channels
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


def extract(
    network: Trained,
    layer: str,
    source: Source,
    config: ConfigDict,
    mesh: Mesh,
    screen: Screen,
) -> dict[str, np.ndarray]:
    """Returns a layer's output for every example of a split, in the split's order.

    Returns:
      ``features`` float32 [N, ...], ``label`` int32 [N], ``index`` int64 [N].
    """

    def device_step(params: Any, batch_stats: Any, batch: dict[str, jax.Array]):
        image = normalise(batch["image"], config.data.mean, config.data.std)
        variables = {"params": params, "batch_stats": batch_stats}
        output = layer_output(network.model, variables, image, layer)
        return {"features": output.astype(jnp.float32), "label": batch["label"]}

    step = jax.shard_map(
        device_step,
        mesh=mesh,
        in_specs=(P(), P(), P("data")),
        out_specs=P("data"),
        check_vma=False,
    )
    num_batches = -(-len(source) // config.batch_size)
    with screen.progress("features", num_batches) as progress:
        return judge_split(
            jax.jit(step),
            network.params,
            network.batch_stats,
            source,
            config,
            mesh,
            advance=progress.advance,
            skipped=set(),
        )
