"""A trained network as one file, for programs that do not know this project."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnn_arch.data.device import normalise
from cnn_arch.errors import RunError, UsageError
from cnn_arch.evaluation.network import Network
from cnn_arch.files import replacing
from cnn_arch.ops.platform import plain_forms
from cnn_arch.screen import Screen
from cnn_arch.weights.files import write_npz, write_safetensors

PLATFORMS = ("cpu", "cuda", "tpu")  # that a StableHLO file runs on
ONNX_TOLERANCE = 1e-4  # of the largest logit


def export(file: str, network: Network, screen: Screen) -> dict[str, str]:
    """Writes a network as the file's suffix says.

    ``.stablehlo``: the program with its weights, for ``jax.export.deserialize``.
    ``.onnx``: the same, for ONNX runtimes. Both take uint8 images [b, H, W, C] of any
    number b, normalise them, and return float32 logits [b, num_classes].
    ``.safetensors``: the weights by torchvision's names. ``.npz``: by ours.

    Args:
      file: its suffix says the format.
      network: the network.
      screen: told what was written.

    Returns:
      The file, and what was written.

    Raises:
      UsageError: another suffix, or a network that the format does not have.
      RunError: an ONNX file was made that does not give the network's logits.
    """
    writers: dict[str, Callable[[Path, Network], str]] = {
        ".stablehlo": _stablehlo,
        ".onnx": _onnx,
        ".safetensors": _safetensors,
        ".npz": _npz,
    }
    path = Path(file)
    if path.suffix not in writers:
        raise UsageError(f"--export={file}: must end in {', '.join(writers)}")
    try:
        with replacing(path) as draft:
            told = writers[path.suffix](draft, network)
    except UsageError as error:
        raise UsageError(f"--export={file}: {error}") from None
    told += f", {path.stat().st_size / 2**20:.1f} MiB"
    screen.say("wrote", f"{path}   {told}", last=True)
    return {"file": file, "what": told}


def _predict(network: Network) -> Callable[[jax.Array], jax.Array]:
    """Returns the function from uint8 images to logits, its weights in it."""
    variables = jax.device_get(network.variables)
    mean, std = network.config.data.mean, network.config.data.std

    def predict(image: jax.Array) -> jax.Array:
        return network.model.apply(variables, normalise(image, mean, std), train=False)

    return predict


def _stablehlo(draft: Path, network: Network) -> str:
    size, channels = network.config.data.image_size, network.config.data.channels
    shape = jax.export.symbolic_shape(f"b, {size}, {size}, {channels}")
    image = jax.ShapeDtypeStruct(shape, jnp.uint8)
    predict = jax.jit(_predict(network))
    exported = jax.export.export(predict, platforms=PLATFORMS)(image)
    draft.write_bytes(exported.serialize())
    return (
        f"StableHLO for {', '.join(PLATFORMS)}: uint8 [b, {size}, {size}, {channels}]"
    )


def _onnx(draft: Path, network: Network) -> str:
    try:
        with _hush():  # its plugins tell of packages that they would support
            import jax2onnx
        import onnxruntime
    except ImportError as error:
        raise UsageError(
            f"ONNX needs {error.name}; pip install -r requirements-onnx.txt"
        ) from None
    size, channels = network.config.data.image_size, network.config.data.channels
    predict = _predict(network)
    image: Any = jax.ShapeDtypeStruct(("b", size, size, channels), jnp.uint8)  # type: ignore[arg-type]
    with _hush(), plain_forms():
        jax2onnx.to_onnx(
            predict,
            [image],
            model_name=network.config.model.name,
            input_names=["image"],
            output_names=["logits"],
            return_mode="file",
            output_path=draft,
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(draft, options)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (3, size, size, channels)).astype(np.uint8)
    expected = np.asarray(jax.jit(predict)(images))
    difference = np.abs(session.run(["logits"], {"image": images})[0] - expected).max()
    if not difference <= ONNX_TOLERANCE * np.abs(expected).max():
        raise RunError(
            f"{draft.name}: ONNX Runtime's logits differ by {difference:.2g}; not kept"
        )
    return (
        f"ONNX: image uint8 [b, {size}, {size}, {channels}] -> logits; ONNX Runtime "
        f"agrees within {difference:.1g}"
    )


@contextmanager
def _hush() -> Iterator[None]:
    """Drops what the converter prints and logs while it succeeds."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _safetensors(draft: Path, network: Network) -> str:
    data = network.config.data
    name = network.config.model.name
    write_safetensors(draft, name, network.variables, data.mean, data.std)
    mean, std = list(data.mean), list(data.std)
    return f"torchvision's state_dict, for (image - {mean}) / {std} of 0..255"


def _npz(draft: Path, network: Network) -> str:
    write_npz(draft, network.variables)
    return "parameters and statistics"
