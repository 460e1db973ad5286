"""Eight virtual CPU devices for every test; set before JAX is imported."""

import gc
import os
import tempfile

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


def pytest_configure(config):
    """Lets all commands share what they compile, and leaves the user's cache alone."""
    if not hasattr(config, "workerinput"):  # xdist's workers inherit it
        folder = tempfile.TemporaryDirectory(prefix="cnn_arch-tests-")
        config.add_cleanup(folder.cleanup)
        os.environ["XDG_CACHE_HOME"] = folder.name
