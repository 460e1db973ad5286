"""The least time that a device needs for each layer.

S. Williams, A. Waterman, D. Patterson, "Roofline: An Insightful Visual Performance
Model for Multicore Architectures", CACM 2009: a layer takes at least its FLOPs over the
peak, and at least its bytes over the bandwidth of the memory.
"""

import dataclasses
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from cnn_arch.costs.layers import LayerCost
from cnn_arch.screen import Screen

TRIES = 8  # of each ceiling; the first compiles


@dataclasses.dataclass(frozen=True)
class Device:
    """A device's two ceilings.

    Attributes:
      name: in print.
      peak_flops: floating-point operations a second, by precision.
      bandwidth: of its memory, bytes a second.
      source: where the numbers stand.
    """

    name: str
    peak_flops: dict[str, float]
    bandwidth: float
    source: str


# Of the tensor cores where a precision has them, without sparsity: JAX computes float32
# convolutions as TF32 there. V100's bfloat16 is its float16, the GTX 580's its float32.
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
    """The least time of a layer.

    Attributes:
      seconds: the larger of the two below.
      compute_seconds: FLOPs over the peak.
      memory_seconds: bytes over the bandwidth.
    """

    compute_seconds: float
    memory_seconds: float

    @property
    def seconds(self) -> float:
        """The larger of the two."""
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def bound(self) -> str:
        """What the layer waits for: ``compute`` or ``memory``; nothing: no work."""
        if not self.seconds:
            return ""
        return "compute" if self.compute_seconds >= self.memory_seconds else "memory"


def floors(rows: Sequence[LayerCost], device: Device, precision: str) -> list[Floor]:
    """Returns the floor of each layer of a forward pass.

    A layer reads its inputs and its parameters once and writes its output once. A sum
    is computed as its last summand is written, and only reads the others. Joining maps
    and taking parts of them may happen where they lie, and takes no time.

    Args:
      rows: folded, since a compiler computes activations as it writes a layer.
      device: one of ``DEVICES``, or ``measure_this``'s.
      precision: of the activations: ``float32`` or ``bfloat16``.
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
    """Returns the device of that name, or ``this`` one, measured."""
    if name != "this":
        return DEVICES[name]
    with screen.timed("ceilings", "of this machine"):
        return measure_this(precision)


def measure_this(precision: str) -> Device:
    """Measures the ceilings of the device that JAX computes on.

    The peak is that of a product of two matrices of 2,048, the bandwidth that of
    reading and writing 256 MB; the best of several tries.
    """
    size, items = 2048, 2**26
    matrix = jnp.ones((size, size), jnp.dtype(precision))
    product = jax.jit(lambda x, y: x @ y)
    # Given up, so that the result lies where it lay: fresh memory is slow.
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
