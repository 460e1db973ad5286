"""The minimum time of each layer on a device.

S. Williams, A. Waterman, D. Patterson, "Roofline: An Insightful Visual Performance
Model for Multicore Architectures", CACM 2009: a layer takes at least its FLOPs / peak
FLOPs a second, and at least its bytes / memory bandwidth.
"""

import dataclasses
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from cnn_arch.costs.layers import LayerCost
from cnn_arch.screen import Screen

TRIES = 8  # measurements of each ceiling; the first one compiles


@dataclasses.dataclass(frozen=True)
class Device:
    """A device's two ceilings."""

    name: str  # for the screen
    peak_flops: dict[str, float]  # floating-point operations a second, by precision
    bandwidth: float  # of its memory, bytes a second
    source: str  # of the numbers


# Peaks of the tensor cores where they have the precision, without sparsity: JAX uses
# TF32 there for float32 convolutions. For bfloat16, the V100 has its float16 peak here,
# and the GTX 580 its float32 peak.
DEVICES = {
    # https://glennklockwood.com/garden/processors/A100 (peaks)
    # https://docs.nvidia.com/deeplearning/performance/dl-performance-gpu-background
    "a100": Device(
        "NVIDIA A100 SXM4 80 GB",
        {"float32": 156e12, "bfloat16": 312e12},
        2039e9,
        "glennklockwood.com, A100; NVIDIA, GPU Performance Background",
    ),
    # https://glennklockwood.com/garden/processors/h100
    "h100": Device(
        "NVIDIA H100 SXM5 80 GB",
        {"float32": 494.7e12, "bfloat16": 989.4e12},
        3.35e12,
        "glennklockwood.com, H100",
    ),
    # https://cvw.cac.cornell.edu/gpu-architecture/gpu-example-tesla-v100/tesla
    # https://developer.nvidia.com/programming-tensor-cores-cuda-9-0
    # https://www.olcf.ornl.gov/for-users/system-user-guides/summit/nvidia-v100-gpus
    "v100": Device(  # 5,120 cores x 2 x 1,530 MHz
        "NVIDIA V100 SXM2 16 GB",
        {"float32": 15.7e12, "bfloat16": 125e12},
        900e9,
        "Cornell Virtual Workshop; NVIDIA, Tensor Cores in CUDA 9; OLCF",
    ),
    # http://grafikkartentest.net/nvidia-geforce-gtx-580 (cores, clocks and bandwidth)
    "gtx580": Device(  # 512 cores x 2 x 1,544 MHz; 384 bits x 4,008 MHz
        "NVIDIA GeForce GTX 580",
        {"float32": 1.581e12, "bfloat16": 1.581e12},
        192.4e9,
        "grafikkartentest.net, GeForce GTX 580",
    ),
}


@dataclasses.dataclass(frozen=True)
class Floor:
    """The minimum time of a layer."""

    compute_seconds: float  # FLOPs / peak
    memory_seconds: float  # bytes / bandwidth

    @property
    def seconds(self) -> float:
        """The longer of the two times."""
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def bound(self) -> str:
        """Its limit: ``compute``, ``memory``, or "" without any work."""
        if not self.seconds:
            return ""
        return "compute" if self.compute_seconds >= self.memory_seconds else "memory"


def floors(rows: Sequence[LayerCost], device: Device, precision: str) -> list[Floor]:
    """Returns the floor of each layer of a forward pass.

    A layer reads its inputs and parameters once and writes its output once. A sum is
    computed while its last summand is written, so it reads only the others.
    Concatenation and subsampling need not move data, and take no time.

    Rows must be folded, since a compiler computes activations while it writes a layer.
    ``precision`` of the activations is ``float32`` or ``bfloat16``.
    """
    by_name = {row.name: row for row in rows}
    item = jnp.dtype(precision).itemsize
    result = []
    for row in rows:
        if row.kind in ("input", "concatenate", "subsample"):
            result.append(Floor(0.0, 0.0))
            continue
        read = sum(by_name[name].output_bytes for name in row.inputs)
        moved = read + row.output_bytes + row.params * item
        if row.kind == "add":
            moved = read - row.output_bytes
        flops = row.flops + row.other_operations
        result.append(
            Floor(flops / device.peak_flops[precision], moved / device.bandwidth)
        )
    return result


def find_device(name: str, precision: str, screen: Screen) -> Device:
    """Returns a device of ``DEVICES``, or measures ``this`` machine."""
    if name != "this":
        return DEVICES[name]
    with screen.timed("ceilings", "of this machine"):
        return measure_this(precision)


def measure_this(precision: str) -> Device:
    """Measures the ceilings of JAX's default device.

    The peak comes from a product of two 2,048 x 2,048 matrices, the bandwidth from
    reading and writing 256 MB. Each is the best of several measurements.
    """
    size, items = 2048, 2**26
    matrix = jnp.ones((size, size), jnp.dtype(precision))
    product = jax.jit(lambda x, y: x @ y)
    # Donated: the result reuses the memory of the argument, since new memory is slow.
    shift = jax.jit(lambda x: x + 1, donate_argnums=0)
    vector = jnp.zeros(items, jnp.float32)
    product_seconds, vector_seconds = [], []
    for _ in range(TRIES):
        start = time.perf_counter()
        product(matrix, matrix).block_until_ready()
        between = time.perf_counter()
        vector = shift(vector).block_until_ready()
        product_seconds.append(between - start)
        vector_seconds.append(time.perf_counter() - between)
    return Device(
        f"this machine ({jax.devices()[0].device_kind})",
        {precision: 2 * size**3 / min(product_seconds)},
        2 * 4 * items / min(vector_seconds),
        "measured",
    )
