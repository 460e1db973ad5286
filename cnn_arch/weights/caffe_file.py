"""Caffe's files, read without Caffe: networks (``.caffemodel``) and mean images.

Both are messages of BVLC/caffe, src/caffe/proto/caffe.proto. Only the fields that are
used here are declared below; the parser skips the others. Layers and blobs are parsed
one by one, after they are counted: an empty message of two bytes needs some hundred in
memory.
"""

import dataclasses
import math
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from cnn_arch.errors import UsageError
from cnn_arch.screen import printable
from cnn_arch.weights.names import listed

MAX_BYTES = 2**31 - 1  # of a message of protocol buffers; VGG-19 has 575 MB
MAX_AXES = 32  # of a blob: Caffe's kMaxBlobAxes
MAX_LAYERS = 10_000  # of a network; ResNet-152 has some 700
MAX_ARRAYS = 100  # of a layer

_Field = descriptor_pb2.FieldDescriptorProto
BOOL, BYTES = _Field.TYPE_BOOL, _Field.TYPE_BYTES
FLOAT, INT64 = _Field.TYPE_FLOAT, _Field.TYPE_INT64


def _field(name: str, number: int, kind: Any, default: str = "") -> Any:
    """Declares a field; ``kind`` is a type, or the name of a message."""
    field = _Field(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if isinstance(kind, str):
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".caffe.{kind}"
    else:
        field.type = kind
    if default:
        field.default_value = default
    return field


def _repeated(name: str, number: int, kind: Any) -> Any:
    field = _field(name, number, kind)
    field.label = _Field.LABEL_REPEATED
    return field


_MESSAGES = {
    "BlobShape": [_repeated("dim", 1, INT64)],
    "BlobProto": [
        _field("num", 1, INT64),
        _field("channels", 2, INT64),
        _field("height", 3, INT64),
        _field("width", 4, INT64),
        # Packed numbers: as bytes they are not made into Python's one by one.
        _field("data", 5, BYTES),
        _field("shape", 7, "BlobShape"),
        _field("double_data", 8, BYTES),
    ],
    "TransformationParameter": [
        _field("scale", 1, FLOAT, "1"),
        _repeated("mean_value", 5, FLOAT),
    ],
    "BatchNormParameter": [_field("eps", 3, FLOAT, "1e-5")],
    "ConvolutionParameter": [
        _repeated("pad", 3, INT64),
        _repeated("stride", 6, INT64),
        _field("pad_h", 9, INT64),
        _field("pad_w", 10, INT64),
        _field("stride_h", 13, INT64),
        _field("stride_w", 14, INT64),
        _repeated("dilation", 18, INT64),
    ],
    "InnerProductParameter": [_field("transpose", 6, BOOL)],
    "LRNParameter": [
        _field("local_size", 1, INT64, "5"),
        _field("alpha", 2, FLOAT, "1"),
        _field("beta", 3, FLOAT, "0.75"),
        _field("norm_region", 4, INT64),  # 0: across channels
        _field("k", 5, FLOAT, "1"),
    ],
    "LayerParameter": [
        _field("name", 1, BYTES),
        _repeated("bottom", 3, BYTES),
        _repeated("blobs", 7, BYTES),
        _field("transform_param", 100, "TransformationParameter"),
        _field("convolution_param", 106, "ConvolutionParameter"),
        _field("inner_product_param", 117, "InnerProductParameter"),
        _field("lrn_param", 118, "LRNParameter"),
        _field("batch_norm_param", 139, "BatchNormParameter"),
    ],
    "V1LayerParameter": [  # until 2015: the networks of BVLC, VGG and Lin
        _field("layer", 1, BYTES),  # of the form before, until 2014
        _repeated("bottom", 2, BYTES),
        _field("name", 4, BYTES),
        _repeated("blobs", 6, BYTES),
        _field("convolution_param", 10, "ConvolutionParameter"),
        _field("inner_product_param", 17, "InnerProductParameter"),
        _field("lrn_param", 18, "LRNParameter"),
        _field("transform_param", 36, "TransformationParameter"),
        _field("batch_norm_param", 139, "BatchNormParameter"),  # in none of this form
    ],
    "NetParameter": [
        _repeated("layers", 2, BYTES),  # V1LayerParameter
        _repeated("layer", 100, BYTES),  # LayerParameter
    ],
}


def _declare() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe")
    for name, fields in _MESSAGES.items():
        file.message_type.add(name=name, field=fields)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


_POOL = _declare()


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer of a file, in the old or the new form."""

    name: str
    inputs: tuple[str, ...]  # the names of the blobs that it reads
    arrays: tuple[np.ndarray, ...]  # as Caffe stores them, of the file's type
    message: Any  # the layer's settings

    def settings(self, name: str) -> Any:
        """Returns a group of the layer's settings; None if the file has none."""
        return getattr(self.message, name) if self.message.HasField(name) else None


def read_network(path: str) -> dict[str, Layer]:
    """Reads the layers of a ``.caffemodel`` by their names.

    Layers with arrays have different names; of others, the last of a name is returned.

    Raises:
      UsageError: the file is damaged, or it is another one.
    """
    network = _parse("NetParameter", _content(path))
    if not 0 < (count := len(network.layers) + len(network.layer)) <= MAX_LAYERS:
        raise UsageError(
            f"it has {count:,} layers; a .caffemodel has 1 to {MAX_LAYERS:,}"
        )
    layers = [_layer("V1LayerParameter", data) for data in network.layers]
    layers += [_layer("LayerParameter", data) for data in network.layer]
    layers.sort(key=lambda layer: bool(layer.arrays))
    names = Counter(layer.name for layer in layers if layer.arrays)
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise UsageError(f"more than once in the file: {listed(twice)}")
    return {layer.name: layer for layer in layers}


def _layer(kind: str, data: bytes) -> Layer:
    message = _parse(kind, data)
    name = message.name.decode("utf-8", "replace")
    if kind == "V1LayerParameter" and message.HasField("layer"):
        raise UsageError(
            "its layers are of Caffe's form before 2014; Caffe's program "
            "upgrade_net_proto_binary makes a file that can be read"
        )
    if len(message.blobs) > MAX_ARRAYS:
        raise UsageError(
            f"{printable(name, 60)} has {len(message.blobs):,} arrays; at most "
            f"{MAX_ARRAYS} are possible"
        )
    arrays = tuple(
        _array(_parse("BlobProto", blob), f"array {place} of {printable(name, 60)}")
        for place, blob in enumerate(message.blobs, start=1)
    )
    inputs = tuple(each.decode("utf-8", "replace") for each in message.bottom)
    message.ClearField("blobs")
    settings = _parse(kind, message.SerializeToString())  # without the blobs' memory
    return Layer(name, inputs, arrays, settings)


def read_mean(path: Path) -> tuple[float, ...]:
    """Reads a mean image (``.binaryproto``): the mean of each channel, BGR or gray.

    Raises:
      UsageError: the file is damaged, or it is another one.
    """
    try:
        image = _array(_parse("BlobProto", _content(str(path))), "the image")
        channels = image.shape[-3] if image.ndim >= 3 and image.size else 0
        if channels not in (1, 3) or image.size != math.prod(image.shape[-3:]):
            raise UsageError(f"its shape is {image.shape}; must be (1 or 3, H, W)")
        mean = image.reshape(channels, -1).mean(axis=1, dtype=np.float64)
        if not np.isfinite(mean).all():
            raise UsageError("it has values that are not finite")
    except UsageError as error:
        raise UsageError(
            f"{path.name} beside it: {error}; delete or replace it"
        ) from None
    return tuple(mean.tolist())


def _content(path: str) -> bytes:
    try:
        if (size := os.path.getsize(path)) > MAX_BYTES:
            raise UsageError(
                f"it has {size:,} bytes; a file of Caffe has at most 2 GiB"
            )
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})") from None


def _parse(kind: str, data: bytes) -> Any:
    descriptor = _POOL.FindMessageTypeByName(f"caffe.{kind}")
    try:
        return message_factory.GetMessageClass(descriptor).FromString(data)
    except DecodeError as error:
        raise UsageError(
            f"not a complete file of Caffe ({error}); copy or fetch it again"
        ) from None


def _array(blob: Any, name: str) -> np.ndarray:
    """Returns the numbers of a blob, after its shape is compared with their count."""
    if blob.HasField("shape"):
        shape = tuple(blob.shape.dim)
    else:
        shape = (blob.num, blob.channels, blob.height, blob.width)
    type_ = np.dtype("<f8" if blob.double_data else "<f4")
    data = blob.double_data or blob.data
    is_possible = len(shape) <= MAX_AXES and min(shape, default=1) >= 0
    if not is_possible or math.prod(shape) * type_.itemsize != len(data):
        raise UsageError(
            f"{name} has the shape {printable(str(shape), 60)} and "
            f"{len(data) // type_.itemsize:,} numbers; the file is damaged"
        )
    return np.frombuffer(data, type_).reshape(shape)
