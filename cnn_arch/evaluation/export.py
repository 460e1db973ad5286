"""Export of a trained network: one file, for use without this project."""

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

from cnn_arch import installation
from cnn_arch.data.views import eval_size
from cnn_arch.errors import RunError, UsageError
from cnn_arch.evaluation.network import Network
from cnn_arch.evaluation.request import EXPORTS
from cnn_arch.files import replacing
from cnn_arch.ops.platform import plain_forms
from cnn_arch.parallel import cores
from cnn_arch.screen import Screen
from cnn_arch.weights.files import write_npz, write_safetensors

PLATFORMS = ("cpu", "cuda", "tpu")  # a StableHLO file runs on all of them
ONNX_TOLERANCE = 1e-4  # of the largest logit


def export(file: str, network: Network, screen: Screen) -> dict[str, str]:
    """Writes a network in the format of the file's suffix.

    ``.stablehlo``: the program with its weights, for ``jax.export.deserialize``.
    ``.onnx``: the same, for ONNX runtimes. Both take uint8 images [b, H, W, C] for any
    b, normalise them, and return float32 logits [b, num_classes].
    ``.safetensors``: the weights under torchvision's names. ``.npz``: under ours.

    Returns:
      The file and a description of its content.

    Raises:
      UsageError: the format cannot store this network.
      RunError: ONNX Runtime computes other logits than the network.
    """
    writers: list[Callable[[Path, Network], str]]
    writers = [_stablehlo, _onnx, _safetensors, _npz]
    path = Path(file)
    write = dict(zip(EXPORTS, writers, strict=True))[path.suffix]
    try:
        with replacing(path) as draft:
            content = write(draft, network)
    except UsageError as error:
        raise UsageError(f"--export={file}: {error}") from None
    content += f", {path.stat().st_size / 2**20:.1f} MiB"
    screen.say("wrote", f"{path}   {content}", last=True)
    return {"file": file, "what": content}


def _predict(network: Network) -> Callable[[jax.Array], jax.Array]:
    """Returns a function from uint8 images to logits; the weights are constants."""
    variables = jax.device_get(network.variables)

    def predict(image: jax.Array) -> jax.Array:
        return network.logits(variables, image)

    return predict


def _stablehlo(draft: Path, network: Network) -> str:
    data = network.config.data
    size, channels = eval_size(data), data.channels
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
        with _hush():  # its plugins print the optional packages that are missing
            import jax2onnx
        import onnxruntime
    except ImportError as error:
        raise UsageError(
            f"ONNX needs {error.name}; {installation.install_extra('onnx')}"
        ) from None
    data = network.config.data
    size, channels = eval_size(data), data.channels
    predict = _predict(network)
    image: Any = jax.ShapeDtypeStruct(("b", size, size, channels), jnp.uint8)  # type: ignore[arg-type]
    with _hush(), plain_forms():
        model = jax2onnx.to_onnx(
            predict,
            [image],
            model_name=network.config.model.name,
            input_names=["image"],
            output_names=["logits"],
            return_mode="proto",  # "file" writes large arrays to a second file
        )
    draft.write_bytes(model.SerializeToString())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = cores.usable()  # default: the machine's
    session = onnxruntime.InferenceSession(draft, options)
    shape = (3, size, size, channels)
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    expected = np.asarray(jax.jit(predict)(images))
    difference = np.abs(session.run(["logits"], {"image": images})[0] - expected).max()
    if not difference <= ONNX_TOLERANCE * np.abs(expected).max():
        raise RunError(
            f"--export: the logits of ONNX Runtime differ by {difference:.2g}; the "
            "file was not kept"
        )
    return (
        f"ONNX: image uint8 [b, {size}, {size}, {channels}] -> logits; ONNX Runtime "
        f"agrees within {difference:.1g}"
    )


@contextmanager
def _hush() -> Iterator[None]:
    """Hides the converter's prints, logs and warnings."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _safetensors(draft: Path, network: Network) -> str:
    config = network.config
    if config.data.normalisation != "channels":
        raise UsageError(
            f"torchvision has no normalisation {config.data.normalisation}; export "
            ".npz, .stablehlo or .onnx"
        )
    mean, std = list(config.data.mean), list(config.data.std)
    write_safetensors(draft, config.model.name, network.variables, mean, std)
    return f"torchvision's state_dict, for (image - {mean}) / {std} of 0..255"


def _npz(draft: Path, network: Network) -> str:
    write_npz(draft, network.variables)
    return "parameters and statistics"
