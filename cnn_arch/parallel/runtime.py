"""The devices of a command: how XLA and memory are set up before they are opened."""

import ctypes
import os
import platform
import sys
import warnings
from pathlib import Path

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cnn_arch.models.build import build_model
from cnn_arch.parallel import gpus, processes
from cnn_arch.parallel import mesh as meshes
from cnn_arch.parallel.launcher import ALONE, Process
from cnn_arch.screen import Screen

# Without the first two a step of ResNet-20 or LeNet-5 takes about twice as long; the
# next two save a tenth of it. The last leaves YNNPACK only reductions: it would take
# float32 convolutions and products from oneDNN, and a quarter longer for ResNet-50's
# step. Not set where the user has set flags.
CPU_FLAGS = (
    "--xla_cpu_use_onednn=true",
    "--xla_cpu_experimental_onednn_custom_call=true",
    "--xla_cpu_prefer_vector_width=512",
    "--xla_cpu_scheduler_type=CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
    "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_REDUCE",
)
CACHE_BYTES = 2 * 2**30  # of compiled programs; the oldest go first
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of glibc's mallopt


def open_devices(config: ConfigDict, screen: Screen, process: Process = ALONE) -> Mesh:
    """Meets the other processes, opens the devices and makes the mesh.

    Raises:
      UsageError: devices or processes are not there, or cannot share the network.
    """
    if (sys.platform, platform.machine()) == ("linux", "x86_64"):
        # Read when devices are opened.
        os.environ.setdefault("XLA_FLAGS", " ".join(CPU_FLAGS))
    if platform.libc_ver()[0] == "glibc" and not config.remat:
        keep_freed_memory()
    keep_compiled_programs()
    if config.mesh.model > 1:
        build_model(config, 1000)  # raises where devices cannot share the network
    processes.start(process)
    mesh = meshes.make_mesh(config.mesh.data, config.mesh.model)
    processes.check_mesh(mesh)
    kind = mesh.devices.flat[0].platform
    note = "   (no GPU used)" if kind == "cpu" else ""
    screen.say("device", f"{meshes.describe(mesh)}, {config.precision}{note}")
    if warning := gpus.unused_gpu(kind):
        screen.warn(warning)
    return mesh


def keep_compiled_programs() -> None:
    """Has JAX keep compiled programs on disk, for the next command."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    jax.config.update("jax_compilation_cache_dir", str(cache / "cnn_arch" / "xla"))
    jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
    # The many small programs of a start, a second of it in all, are kept as well.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    # XLA cannot store programs with calls of oneDNN (jax 0.12): those compile again.
    warnings.filterwarnings("ignore", "Error writing persistent compilation cache")


def keep_freed_memory() -> None:
    """Has glibc keep what is freed; works only before JAX starts its threads.

    XLA's CPU client allocates a step's scratch memory anew each time. Left to itself
    glibc maps it, and the kernel zeroes it page by page: a quarter of ResNet-18's step,
    and far more in a virtual machine that hands free pages back to its host. The price
    is a heap that holds the scratch memory up to twice.
    """
    library = ctypes.CDLL(None)
    for parameter, value in ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1)):
        library.mallopt(parameter, value)


def return_freed_memory() -> None:
    """Has glibc map large arrays again, where there is no memory to keep them."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(M_MMAP_MAX, 65536)  # glibc's default
