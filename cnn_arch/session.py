"""What train.py and eval.py open before they work, each told in one line."""

import ctypes
import os
import platform
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict

from cnn_arch.costs.layers import layer_costs
from cnn_arch.data.device import augment
from cnn_arch.data.loading import TrainBatches
from cnn_arch.data.sources import Dataset, load_dataset
from cnn_arch.errors import UsageError
from cnn_arch.models import check_image_size
from cnn_arch.parallel import mesh as meshes
from cnn_arch.parallel import processes
from cnn_arch.parallel.launcher import ALONE, Process
from cnn_arch.report import plots
from cnn_arch.screen import Screen, printable
from cnn_arch.training.step import AUGMENTATION, build_model, step_key

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
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of glibc's mallopt
CACHE_BYTES = 2 * 2**30  # of compiled programs; the oldest go first
UNBALANCED = 20  # largest class to smallest, from which on a warning is due


def open_devices(
    config: ConfigDict,
    screen: Screen,
    process: Process = ALONE,
    *,
    fit_batch: bool = False,
) -> Mesh:
    """Meets the other processes, makes the mesh and keeps compiled programs.

    Args:
      config: of the run.
      screen: where it is told.
      process: this one.
      fit_batch: raise ``batch_size`` to what the devices can share: for evaluation,
        whose results do not depend on it.

    Raises:
      UsageError: devices or processes are not there, or cannot share the network or
        the batch.
    """
    if (sys.platform, platform.machine()) == ("linux", "x86_64"):
        # Read when devices are opened.
        os.environ.setdefault("XLA_FLAGS", " ".join(CPU_FLAGS))
    if platform.libc_ver()[0] == "glibc" and not config.remat:
        keep_freed_memory()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    jax.config.update("jax_compilation_cache_dir", str(cache / "cnn_arch" / "xla"))
    jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
    # The many small programs of a start, a second of it in all, are kept as well.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    # XLA cannot store programs with calls of oneDNN (jax 0.12): those compile again.
    warnings.filterwarnings("ignore", "Error writing persistent compilation cache")
    if config.mesh.model > 1:
        build_model(config, 1000)  # says what it cannot be split into
    processes.start(process)
    mesh = meshes.make_mesh(config.mesh.data, config.mesh.model)
    if fit_batch:
        config.batch_size += -config.batch_size % mesh.size
    processes.check_mesh(mesh)
    meshes.check_batch_size(config.batch_size, mesh)
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    note = "   (no GPU used)" if on_cpu else ""
    screen.say("device", f"{meshes.describe(mesh)}, {config.precision}{note}")
    if warning := meshes.unused_gpu(mesh):
        screen.warn(warning)
    return mesh


def open_data(config: ConfigDict, screen: Screen) -> Dataset:
    """Finds the data, once it is clear that the network can take its images.

    Raises:
      UsageError: an image is too small for the network, or the data is not there.
    """
    data = config.data
    check_image_size(
        build_model(config, data.num_classes or 1000),
        config.model.name,
        data.image_size,
        data.channels,
    )
    dataset = load_dataset(data)
    screen.say("data", describe_data(dataset))
    if data.source == "folder":  # the sets of TFDS are known, and slow to count
        _tell_balance(dataset, screen)
    return dataset


def choose_split(dataset: Dataset, split: str) -> str:
    """Returns the split, once it is clear that the data has it.

    Raises:
      UsageError: it has not.
    """
    if split not in dataset.splits:
        raise UsageError(
            f"--split={split}: {dataset.name} has no such split; it has "
            f"{', '.join(dataset.splits)}"
        )
    return split


def check_classes(dataset: Dataset, class_names: Sequence[str], workdir: Path) -> None:
    """Checks that the data's classes are those that a network tells apart.

    Raises:
      UsageError: they are not.
    """
    if list(dataset.class_names) != list(class_names):
        raise UsageError(
            f"--workdir={workdir}: the data's classes are not those of the run; "
            "give the run's data with --data_dir"
        )


def _tell_balance(dataset: Dataset, screen: Screen) -> None:
    """Names the largest and the smallest class of the training split."""
    counts = Counter(dataset.splits["train"].labels.tolist()).most_common()
    (largest, most), (smallest, least) = counts[0], counts[-1]
    names = [printable(name, 20) for name in dataset.class_names]
    screen.say(
        "",
        f"largest class {names[largest]} ({most:,}), "
        f"smallest {names[smallest]} ({least:,})",
    )
    if most > UNBALANCED * least:
        screen.warn(
            f"{names[largest]} has {most / least:.0f} times the images of "
            f"{names[smallest]}: a small class may be ignored"
        )


def describe_data(dataset: Dataset) -> str:
    """Writes the data in one line: sizes of the splits, number of classes."""
    names = {"train": "train", "validation": "val", "test": "test"}
    sizes = "  ".join(
        f"{names[split]} {len(source):,}" for split, source in dataset.splits.items()
    )
    return f"{printable(dataset.name)}: {sizes}; {len(dataset.class_names):,} classes"


def show_batch(
    workdir: Path,
    batches: TrainBatches,
    class_names: tuple[str, ...],
    config: ConfigDict,
    screen: Screen,
) -> None:
    """Draws the first batch, so that a mistake in the data is seen before training."""
    batch = batches.batch(0)
    key = step_key(config.seed, 0, AUGMENTATION)
    image = jax.jit(lambda image: augment(image, key, config.data))(batch["image"])
    names = [class_names[label] for label in batch["label"]]
    plots.train_batch(workdir / "plots" / "train_batch.jpg", np.asarray(image), names)
    screen.say("look at", f"{workdir}/plots/train_batch.jpg   what the net sees")


def open_network(
    config: ConfigDict, num_classes: int, screen: Screen, *, loops: bool = True
) -> Any:
    """Makes the network and tells its size; ``loops`` as in ``build_model``."""
    model = build_model(config, num_classes, loops=loops)
    screen.say("model", describe_network(config, num_classes))
    return model


def describe_network(config: ConfigDict, num_classes: int) -> str:
    """Writes parameters and multiply-adds in one line."""
    model = build_model(config, num_classes, loops=False)
    rows = layer_costs(model, config.data.image_size, config.data.channels)
    in_aux = sum(row.params for row in rows if row.auxiliary)
    num = sum(row.params for row in rows) - in_aux
    heads = f", {in_aux:,} more in auxiliary heads" if in_aux else ""
    macs = sum(row.macs for row in rows if not row.auxiliary)
    return (
        f"{config.model.name}: {num:,} parameters ({4 * num / 2**20:.2f} MiB){heads}, "
        f"{macs / 1e6:,.2f} MMAC an image"
    )


def abstract(tree: Any, model: Any, mesh: Mesh) -> Any:
    """Returns the shapes of arrays, with how they lie on the devices.

    Args:
      tree: of arrays or shapes.
      model: the network that they are of; None: every device shall hold them whole.
      mesh: the devices.
    """
    return jax.tree.map(
        lambda leaf, sharding: leaf.update(sharding=sharding),
        tree,
        meshes.shardings(tree, model, mesh),
    )


def abstract_batch(config: ConfigDict, mesh: Mesh) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of a batch, spread over the "data" axis."""
    size, spread = config.data.image_size, NamedSharding(mesh, P("data"))
    shape = (config.batch_size, size, size, config.data.channels)
    return {
        "image": jax.ShapeDtypeStruct(shape, jnp.uint8, sharding=spread),
        "label": jax.ShapeDtypeStruct(shape[:1], jnp.int32, sharding=spread),
    }


def compile_step(step: Any, arguments: Any, config: ConfigDict, mesh: Mesh) -> Any:
    """Compiles a step for its arguments' shapes and checks that memory suffices.

    Raises:
      UsageError: the step needs more memory than there is; names a batch that fits.
    """
    compiled = step.lower(*arguments).compile()
    analysis = compiled.memory_analysis()
    available = meshes.available_bytes(mesh)
    if analysis is None or available is None:
        return compiled
    fixed = analysis.argument_size_in_bytes
    needed = fixed + analysis.temp_size_in_bytes
    if needed > available:
        share = max(0.0, (available - fixed) / analysis.temp_size_in_bytes)
        fits = int(config.batch_size * share) // mesh.size * mesh.size
        hint = f"about {fits} would fit" if fits else "not even one image would fit"
        raise UsageError(
            f"--config.batch_size={config.batch_size}: a step needs "
            f"{needed / 2**30:.1f} GiB and {available / 2**30:.1f} GiB are free; {hint}"
        )
    if needed + analysis.temp_size_in_bytes > available:
        _return_freed_memory()
    return compiled


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


def _return_freed_memory() -> None:
    """Has glibc map large arrays again, where there is no memory to keep them."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(M_MMAP_MAX, 65536)  # glibc's default
