"""Eight virtual CPU devices for every test; set before JAX is imported."""

import gc
import os
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest

os.environ["JAX_PLATFORMS"] = "cpu"
# As in tests/commands.py, which imports JAX.
FLAGS = """
    --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true
    --xla_cpu_parallel_codegen_split_count=1 --xla_force_host_platform_device_count=
""".strip()
os.environ["XLA_FLAGS"] = f"{FLAGS}8"

# glibc reads these when a worker or a command starts: it keeps freed memory, which the
# kernel would have to clear each time.
os.environ["MALLOC_TRIM_THRESHOLD_"] = os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**32)

# Tracing makes millions of small objects and few circles: collecting at Python's own
# pace is a quarter of a test's time.
gc.set_threshold(200_000, 50, 100)

# nohup, or a shell in the background, ignores these; commands would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _free_programs(request):
    """Frees what a slow test has compiled: all of them together fill the memory."""
    yield
    if request.node.get_closest_marker("slow"):
        import jax

        jax.clear_caches()
        gc.collect()


def pytest_collection_modifyitems(items):
    """Puts the tests of commands first: they take longest, and workers end together."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


def pytest_configure(config):
    """Lets all commands share what they compile, and leaves the user's cache alone."""
    if not hasattr(config, "workerinput"):  # xdist's workers inherit it
        folder = tempfile.TemporaryDirectory(prefix="cnn_arch-tests-")
        config.add_cleanup(folder.cleanup)
        os.environ["XDG_CACHE_HOME"] = folder.name


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder of three classes that differ in their colour."""
    import cv2  # not at the top: cnn_arch.data must set its limits first

    root = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for split, count in (("train", 36), ("val", 4), ("test", 9)):
        for channel, name in enumerate(("blue", "green", "red")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                image = generator.integers(0, 120, (40, 44, 3)).astype(np.uint8)
                image[..., channel] += 120
                cv2.imwrite(str(folder / f"{i}.png"), image)
    return root


# LeNet-5 is the quickest to compile; ResNet-20 learns the colours in three epochs.
@pytest.fixture(
    scope="session", params=["lenet5", pytest.param("resnet20", marks=pytest.mark.slow)]
)
def network(request):
    return request.param


@pytest.fixture(scope="session")
def recipe(network, photos):
    """Returns a function that lists the words of a recipe for the photos."""

    def words(*more, photos=photos):
        return (
            f"--config=configs/{network}.py:folder",
            f"--config.data.dir={photos}",
            "--config.batch_size=8",
            "--config.epochs=3",
            "--config.optim.learning_rate=0.02",
            *(["--config.precision=float32"] if network == "resnet20" else []),
            *more,
        )

    return words


@pytest.fixture(scope="session")
def finished(recipe, tmp_path_factory):
    """A complete run: its directory and its output."""
    from tests.commands import run  # imports JAX

    workdir = tmp_path_factory.mktemp("runs") / "finished"
    result = run("train.py", *recipe(), f"--workdir={workdir}")
    assert result.returncode == 0, result.stderr
    return workdir, result.stdout
