"""Eight virtual CPU devices for every test; set before JAX is imported."""

import os

import pytest

os.environ["JAX_PLATFORMS"] = "cpu"
# Unoptimised code compiles in half the time, and tests run it once or twice.
FLAGS = "--xla_backend_optimization_level=0 --xla_force_host_platform_device_count="
os.environ["XLA_FLAGS"] = f"{FLAGS}8"


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """Keeps the programs that a module's commands compile for these tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
