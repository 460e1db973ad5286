"""Networks as their authors published them for Caffe, and files of them, without Caffe.

A network is written as a prototxt, which OpenCV reads, and as a ``.caffemodel``, in the
form before or after 2015. The numbers of the fields are from BVLC/caffe,
src/caffe/proto/caffe.proto; the encoding is that of protocol buffers.
"""

import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# Type -> group of settings, its number in the new and the old form, its fields.
GROUPS: dict[str, tuple[str, int, int, dict[str, int]]] = {
    "Data": ("transform_param", 100, 36, {"scale": 1, "mean_value": 5}),
    "Convolution": (
        "convolution_param",
        106,
        10,
        {
            "num_output": 1,
            "bias_term": 2,
            "pad": 3,
            "kernel_size": 4,
            "group": 5,
            "stride": 6,
            "dilation": 18,
        },
    ),
    "InnerProduct": (
        "inner_product_param",
        117,
        17,
        {"num_output": 1, "transpose": 6},
    ),
    "LRN": ("lrn_param", 118, 18, {"local_size": 1, "alpha": 2, "beta": 3, "k": 5}),
    "Pooling": (
        "pooling_param",
        121,
        19,
        {"pool": 1, "kernel_size": 2, "stride": 3, "pad": 4},
    ),
    "BatchNorm": ("batch_norm_param", 139, 0, {"use_global_stats": 1, "eps": 3}),
    "Scale": ("scale_param", 142, 0, {"bias_term": 4}),
}
OLD_TYPES = {
    "Concat": (3, "CONCAT"),
    "Convolution": (4, "CONVOLUTION"),
    "Data": (5, "DATA"),
    "InnerProduct": (14, "INNER_PRODUCT"),
    "LRN": (15, "LRN"),
    "Pooling": (17, "POOLING"),
    "ReLU": (18, "RELU"),
}
POOLS = ("MAX", "AVE")


class Layer(NamedTuple):
    """A layer with the shapes of its arrays."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    top: str
    settings: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...] = ()

    def arrays(self) -> list[np.ndarray]:
        """Draws the arrays; they depend on the name alone."""
        generator = np.random.default_rng(zlib.crc32(self.name.encode()))
        if self.type == "BatchNorm":  # sums, and the sum of the weights
            mean, variance = (
                generator.uniform(-0.3, 0.3, self.shapes[0]) for _ in "ab"
            )
            sums = [mean * 2.5, (1 + variance) * 2.5, np.full(1, 2.5)]
            return [array.astype(np.float32) for array in sums]
        if self.type == "Scale":
            return [generator.uniform(0.7, 1.3, x).astype("f4") for x in self.shapes]
        kernel, *biases = self.shapes
        deviation = math.sqrt(2 / math.prod(kernel[1:]))
        arrays = [generator.standard_normal(kernel, np.float32) * np.float32(deviation)]
        return arrays + [generator.uniform(-0.1, 0.1, x).astype("f4") for x in biases]


class Net:
    """The layers of a network, made one after another."""

    def __init__(self, size: int, channels: int = 3):
        self.input = (channels, size, size)
        self.maps: dict[str, tuple[int, ...]] = {"data": self.input}
        self.layers: list[Layer] = []
        self.top = "data"  # the last one

    def add(
        self, layer: Layer, shape: tuple[int, ...] | None = None, relu: bool = False
    ) -> str:
        """Adds a layer, and a ReLU behind it; returns the name of its output."""
        self.layers.append(layer)
        self.maps[layer.top] = shape or self.maps[layer.bottoms[0]]
        if relu:
            self.layers.append(
                Layer(f"{layer.name}_relu", "ReLU", (layer.top,), layer.top, {})
            )
        self.top = layer.top
        return layer.top

    def conv(
        self,
        name: str,
        width: int,
        size: int,
        *,
        bottom: str = "",
        bias: bool = True,
        relu: bool = True,
        **settings: int,  # stride, pad, group
    ) -> str:
        bottom = bottom or self.top
        channels, height, _ = self.maps[bottom]
        stride, pad = settings.get("stride", 1), settings.get("pad", 0)
        side = (height + 2 * pad - size) // stride + 1
        given = {"num_output": width, "kernel_size": size, **settings}
        shapes: Any = [(width, channels // settings.get("group", 1), size, size)]
        if bias:
            shapes.append((width,))
        else:
            given["bias_term"] = False
        layer = Layer(name, "Convolution", (bottom,), name, given, tuple(shapes))
        return self.add(layer, (width, side, side), relu)

    def pool(
        self, name: str, size: int, stride: int, *, bottom: str = "", **settings: int
    ) -> str:
        """Adds a pool; ``pool=1`` is the mean. Caffe keeps partial windows."""
        bottom = bottom or self.top
        channels, height, _ = self.maps[bottom]
        side = math.ceil((height + 2 * settings.get("pad", 0) - size) / stride) + 1
        given = {"kernel_size": size, "stride": stride, **settings}
        layer = Layer(name, "Pooling", (bottom,), name, given)
        return self.add(layer, (channels, side, side))

    def lrn(self, name: str, **settings: float) -> str:
        given = {"local_size": 5, "alpha": 1e-4, "beta": 0.75, **settings}
        return self.add(Layer(name, "LRN", (self.top,), name, given))

    def dense(self, name: str, width: int, *, relu: bool = True) -> str:
        bottom = self.top
        shapes = ((width, math.prod(self.maps[bottom])), (width,))
        layer = Layer(
            name, "InnerProduct", (bottom,), name, {"num_output": width}, shapes
        )
        return self.add(layer, (width,), relu)

    def norm(self, name: str, *, relu: bool, **settings: float) -> str:
        """Adds BatchNorm and Scale, in place, as He et al. name them."""
        top, width = self.top, self.maps[self.top][:1]
        given = {"use_global_stats": True, **settings}
        self.add(
            Layer(f"bn{name}", "BatchNorm", (top,), top, given, (width, width, (1,)))
        )
        scale = Layer(
            f"scale{name}", "Scale", (top,), top, {"bias_term": True}, (width, width)
        )
        return self.add(scale, relu=relu)

    def join(self, name: str, kind: str, *bottoms: str) -> str:
        shapes = [self.maps[bottom] for bottom in bottoms]
        width = sum(shape[0] for shape in shapes) if kind == "Concat" else shapes[0][0]
        layer = Layer(name, kind, bottoms, name, {})
        return self.add(layer, (width, *shapes[0][1:]), relu=kind == "Eltwise")


def encode(number: int, value: Any) -> bytes:
    """Encodes a field: a whole number, a float, a text or bytes."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])


def blob(array: np.ndarray, *, old: bool = False) -> bytes:
    """Encodes a BlobProto; float64 as double_data, the old form with four sizes."""
    number, type_ = (8, "<f8") if array.dtype == np.float64 else (5, "<f4")
    data = encode(number, array.astype(type_).tobytes())
    if old:
        sizes = (1,) * (4 - array.ndim) + array.shape
        return data + b"".join(encode(i, n) for i, n in enumerate(sizes, start=1))
    return data + encode(7, encode(1, b"".join(map(varint, array.shape))))


def caffemodel(
    layers: Sequence[Layer], *, old: bool = False, arrays: bool = True
) -> bytes:
    """Encodes a NetParameter; without arrays, only the layers' settings."""
    made = []
    for layer in layers:
        parts = [encode(4 if old else 1, layer.name)]
        parts.append(
            encode(5, OLD_TYPES[layer.type][0]) if old else encode(2, layer.type)
        )
        parts += [encode(2 if old else 3, bottom) for bottom in layer.bottoms]
        parts.append(encode(3 if old else 4, layer.top))
        for array in layer.arrays() if arrays and layer.shapes else ():
            parts.append(encode(6 if old else 7, blob(array, old=old)))
        if layer.type in GROUPS:
            _, new_number, old_number, fields = GROUPS[layer.type]
            pairs = [
                encode(fields[key], value)
                for key, values in layer.settings.items()
                for value in (values if isinstance(values, list) else [values])
            ]
            parts.append(encode(old_number if old else new_number, b"".join(pairs)))
        made.append(encode(2 if old else 100, b"".join(parts)))
    return b"".join(made)


def prototxt(net: Net, *, old: bool = False) -> str:
    """Writes the description that OpenCV reads."""
    lines = ['input: "data"', *(f"input_dim: {n}" for n in (1, *net.input))]
    for layer in net.layers:
        kind = OLD_TYPES[layer.type][1] if old else f'"{layer.type}"'
        lines.append("layers {" if old else "layer {")
        lines += [f'name: "{layer.name}"', f"type: {kind}", f'top: "{layer.top}"']
        lines += [f'bottom: "{bottom}"' for bottom in layer.bottoms]
        if layer.settings:
            lines.append(f"{GROUPS[layer.type][0]} {{")
            for key, value in layer.settings.items():
                shown = POOLS[value] if key == "pool" else str(value).lower()
                lines.append(f"{key}: {shown}")
            lines.append("}")
        lines.append("}")
    return "\n".join(lines) + "\n"


def write(net: Net, folder: Path, *, old: bool = False) -> tuple[Path, Path]:
    """Writes a network's two files; returns their paths."""
    paths = folder / "net.prototxt", folder / "net.caffemodel"
    paths[0].write_text(prototxt(net, old=old))
    paths[1].write_bytes(caffemodel(net.layers, old=old))
    return paths
