"""The devices of a command, and the settings of XLA and memory before they open."""

import ctypes
import os
import platform
import tempfile
import warnings
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict, FrozenConfigDict

from cnn_arch import processor, settings
from cnn_arch.models.build import build_model
from cnn_arch.parallel import gpus, processes
from cnn_arch.parallel import mesh as meshes
from cnn_arch.parallel.launcher import ALONE, Process
from cnn_arch.screen import Screen

# Without the first, a step of ResNet-20 takes 1.5 times as long in float32, and 47
# times in bfloat16 without AMX. Without the second, it needs 1.5 times the scratch
# memory (VGG-16 1.2, GoogLeNet 0.9). The third restricts YNNPACK to reductions: with
# its float32 convolutions and products in place of oneDNN's, a step of ResNet-50 takes
# a quarter longer. The user's own XLA_FLAGS replace all of them.
ONEDNN_FLAGS = (
    "--xla_cpu_experimental_onednn_custom_call=true",
    "--xla_cpu_scheduler_type=CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
    "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_REDUCE",
)
# XLA's default is 256. It saves up to 0.08 of a step with AVX-512, and none with AMX.
WIDE_FLAG = "--xla_cpu_prefer_vector_width=512"
CACHE_BYTES = 2 * 2**30  # of compiled programs; JAX deletes the oldest first
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of glibc's mallopt


def open_for_training(
    config: ConfigDict, screen: Screen, process: Process = ALONE
) -> tuple[Mesh, FrozenConfigDict]:
    """Opens the devices, and chooses the precision if the config says "auto".

    It is bfloat16 where the devices multiply it in hardware, and float32 elsewhere. All
    processes have the choice of process 0.

    Raises:
      UsageError: as ``open_devices``.
    """
    mesh = _open(config, process)
    is_native = processes.from_first(multiplies_bfloat16(mesh.devices.flat[0]))
    if config.precision == "auto":
        chosen = "bfloat16" if is_native else "float32"
        config = settings.derive(config, {"precision": chosen})
    elif config.precision == "bfloat16" and not is_native:
        screen.warn(
            "these devices have no instructions for bfloat16, so it is slower than "
            "--config.precision=float32"
        )
    _say_devices(mesh, config, screen)
    return mesh, FrozenConfigDict(config)


def multiplies_bfloat16(device: Any) -> bool:
    """Returns whether a device of JAX has instructions for products of bfloat16.

    NVIDIA's GPUs have them from compute capability 8.0 on (A100), all TPUs do. Of AMD's
    GPUs it is assumed.
    """
    if device.platform == "gpu":
        capability = getattr(device, "compute_capability", "")  # AMD's: gfx90a
        return not capability[:1].isdigit() or float(capability) >= 8.0
    if device.platform == "cpu":
        return processor.vector_unit() in processor.WITH_BFLOAT16
    return True


def open_devices(config: ConfigDict, screen: Screen, process: Process = ALONE) -> Mesh:
    """Connects to the other processes, opens the devices and makes the mesh.

    Raises:
      UsageError: devices or processes are missing, or cannot share the network.
    """
    mesh = _open(config, process)
    _say_devices(mesh, config, screen)
    return mesh


def _open(config: ConfigDict, process: Process) -> Mesh:
    if flags := cpu_flags(processor.vector_unit()):  # XLA reads them with the devices
        os.environ.setdefault("XLA_FLAGS", " ".join(flags))
    if platform.libc_ver()[0] == "glibc" and not config.remat:
        keep_freed_memory()
    keep_compiled_programs()
    if config.mesh.model > 1:
        any_precision = settings.derive(config, {"precision": "float32"})
        build_model(any_precision, 1000)  # raises where devices cannot share it
    processes.start(process)
    return meshes.make_mesh(config.mesh.data, config.mesh.model)


def _say_devices(mesh: Mesh, config: ConfigDict, screen: Screen) -> None:
    kind = mesh.devices.flat[0].platform
    note = "   (no GPU used)" if kind == "cpu" else ""
    screen.say("device", f"{meshes.describe(mesh)}, {config.precision}{note}")
    if warning := gpus.unused_gpu(kind):
        screen.warn(warning)


def cpu_flags(vector_unit: str) -> tuple[str, ...]:
    """Returns the flags of XLA for a processor, by ``processor.vector_unit``.

    They are measured with AMX, AVX-512 and AVX2 (benchmarks/README.md). Processors
    without these, such as ARM's, have XLA's own.
    """
    if vector_unit == "unknown":
        return ()
    return ONEDNN_FLAGS if vector_unit == "avx2" else (*ONEDNN_FLAGS, WIDE_FLAG)


def keep_compiled_programs() -> None:
    """Lets JAX keep compiled programs on disk, for the next command.

    Where the user has no home, or the folder cannot be written, nothing is kept.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(cache, "cnn_arch", "xla")
    try:
        if not folder.is_absolute():  # the user has no home
            return
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
    # Keep also the many small programs of a start: together they take a second.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    # XLA cannot store programs that call oneDNN (jax 0.12): it compiles them again.
    warnings.filterwarnings("ignore", "Error writing persistent compilation cache")


def keep_freed_memory() -> None:
    """Lets glibc keep freed memory; works only before JAX starts its threads.

    XLA's CPU client allocates scratch memory at every step. By default glibc maps new
    pages and the kernel zeroes them, which takes a quarter of a step of ResNet-18, and
    far more in a virtual machine that returns free pages to its host. The cost is a
    heap that contains the scratch memory up to twice.

    All threads share one arena: from another one, glibc maps each array of more than
    64 MiB anew. With two, GoogLeNet's step compiles in 17 s in place of 22 (two cores),
    but in some processes all steps then take 1.1 to 1.35 times as long.
    """
    library = ctypes.CDLL(None)
    for parameter, value in (
        (M_ARENA_MAX, 1),
        (M_MMAP_MAX, 0),
        (M_TRIM_THRESHOLD, -1),
    ):
        library.mallopt(parameter, value)


def return_freed_memory() -> None:
    """Lets glibc map large arrays again, when memory is too small to keep them."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(M_MMAP_MAX, 65536)  # glibc's default
