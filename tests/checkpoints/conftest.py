"""States that follow from their step, and runs that save them."""

import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import SingleDeviceSharding

from cnn_arch.checkpoints.checkpoint import Checkpoints
from cnn_arch.checkpoints.state import TrainState

CONFIG = {"seed": 0, "model": {"name": "lenet5"}, "data": {"mean": [0.5, 0.25]}}


def make_state(step: int, width: int = 100) -> TrainState:
    """Returns a state with other arrays for each step."""
    rng = np.random.default_rng(step)
    params = {
        "conv1": {
            "kernel": rng.standard_normal((3, 3, 4, 8), np.float32),
            "bias": jnp.asarray(rng.standard_normal(8), jnp.bfloat16),
        },
        "fc": {"kernel": rng.standard_normal((width, 1000), np.float32)},
    }
    params = jax.tree.map(jnp.asarray, params)
    mask = {"conv1": {"kernel": True, "bias": False}, "fc": {"kernel": True}}
    optimizer = optax.chain(
        optax.add_decayed_weights(1e-4, mask=mask),
        optax.sgd(optax.constant_schedule(0.1), momentum=0.9),
    )
    return TrainState(
        step=jnp.int32(step),
        params=params,
        batch_stats={"bn1": {"mean": jnp.full(8, step, jnp.float32)}},
        opt_state=optimizer.init(params),
    )


def abstract(tree: Any) -> Any:
    """Returns the tree's shapes and types on one device."""
    sharding = SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
    )


def assert_same(left: Any, right: Any) -> None:
    """Asserts that structures, types and all bits are equal."""
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


class Run:
    """A directory of checkpoints with its warnings."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.warnings: list[str] = []
        self.errors: dict[int, float] | None = None  # as metrics.csv has them
        self.checkpoints = Checkpoints(
            directory, warn=self.warnings.append, known_errors=lambda: self.errors
        )

    def save_state(self, state: TrainState, error: float | None = None) -> None:
        self.checkpoints.save(state, config=CONFIG, epoch=1.5, validation_error=error)

    def save(self, step: int, error: float | None = None) -> None:
        self.save_state(make_state(step), error)

    def save_and_close(self, step: int, error: float | None = None) -> None:
        self.save(step, error)
        self.checkpoints.close()

    def restore(self, step: int | None = None) -> TrainState | None:
        return self.checkpoints.restore(abstract(make_state(0)), step)

    def restore_variables(self, which: str | int) -> tuple[Any, Any, int]:
        shapes = abstract(make_state(0)).variables
        variables, step = self.checkpoints.restore_variables(shapes, which)
        return variables["params"], variables["batch_stats"], step

    def assert_newest(self, step: int) -> None:
        """Asserts that the newest intact checkpoint is the state of a step."""
        assert_same(self.restore(), make_state(step))

    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())

    def largest_file(self, step: int, item: str = "params") -> Path:
        files = (self.directory / str(step) / item).rglob("d/*")
        return max(files, key=lambda file: file.stat().st_size)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Returns an empty run."""
    return Run(tmp_path / "checkpoints")


@pytest.fixture(scope="session")
def three_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the steps 1, the best, and 2 and 3."""
    run = Run(tmp_path_factory.mktemp("saved") / "checkpoints")
    run.save(1, 5.0)
    run.save(2, 7.0)
    run.save_and_close(3, 6.0)
    return run.directory


@pytest.fixture
def saved(three_steps: Path, tmp_path: Path) -> Run:
    """Returns a run with the steps 1, the best, and 2 and 3."""
    shutil.copytree(three_steps, tmp_path / "checkpoints", symlinks=True)
    return Run(tmp_path / "checkpoints")
