"""Checkpoints: exact round trips, damage of every kind, what is kept and deleted."""

import gc
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

from cnn_arch.checkpoints.checkpoint import Checkpoints
from cnn_arch.checkpoints.state import TrainState
from cnn_arch.errors import RunError, UsageError

CONFIG = {"seed": 0, "model": {"name": "lenet5"}, "data": {"mean": [0.5, 0.25]}}


def make_state(step: int, width: int = 100) -> TrainState:
    """Returns a state whose every array follows from the step."""
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


def abstract(tree: Any, sharding: Any = None) -> Any:
    """Returns the tree's shapes and types, on one device unless told otherwise."""
    sharding = sharding or SingleDeviceSharding(jax.devices()[0])
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
        self.warnings = []
        self.checkpoints = Checkpoints(directory, warn=self.warnings.append)

    def save(self, step: int, error: float | None = None, **options: int) -> TrainState:
        state = make_state(step, **options)
        self.checkpoints.save(
            state, config=CONFIG, epoch=step / 10, validation_error=error
        )
        return state

    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())

    def largest_file(self, step: int, item: str = "params") -> Path:
        files = (self.directory / str(step) / item).rglob("d/*")
        return max(files, key=lambda file: file.stat().st_size)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """An empty run."""
    return Run(tmp_path / "checkpoints")


@pytest.fixture
def saved(run: Run) -> Run:
    """A run with steps 1, the best, and 2 and 3."""
    run.save(1, 5.0)
    run.save(2, 7.0)
    run.save(3, 6.0)
    run.checkpoints.close()
    return run


def flip(file: Path) -> None:
    """Flips one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_round_trip_is_exact(saved: Run):
    restored = Checkpoints(saved.directory, warn=pytest.fail).restore(
        abstract(make_state(0))
    )
    assert_same(restored, make_state(3))
    config = json.loads((saved.directory / "3/config/data.json").read_text())
    assert config == CONFIG


def test_no_checkpoint(run: Run):
    state = abstract(make_state(0))
    assert run.checkpoints.restore(state) is None
    assert run.checkpoints.steps() == []
    assert run.checkpoints.best_step() is None and run.checkpoints.last_step() is None
    for which in ("best", 3):
        with pytest.raises(UsageError, match=f"--checkpoint={which}: .*there: none"):
            run.checkpoints.restore_variables(state.params, state.batch_stats, which)


def test_network_without_batch_statistics(run: Run):
    state = make_state(1).replace(batch_stats={})
    run.checkpoints.save(state, config=CONFIG, epoch=1, validation_error=None)
    run.checkpoints.close()
    assert_same(run.checkpoints.restore(abstract(state)), state)


def test_donated_state_is_saved_as_it_was(run: Run):
    state = run.save(1)
    step = jax.jit(
        lambda tree: jax.tree.map(lambda leaf: leaf * 0 + 7, tree), donate_argnums=0
    )
    # XLA reuses the arrays, or copies those that the save is still reading.
    jax.block_until_ready(step(state))
    run.checkpoints.close()
    assert_same(run.checkpoints.restore(abstract(make_state(0))), make_state(1))


def test_restores_on_any_mesh(run: Run):
    def sharded(shape: tuple[int, int], num_devices: int) -> Any:
        mesh = jax.make_mesh(
            shape, ("data", "model"), devices=jax.devices()[:num_devices]
        )

        def sharding(leaf: Any) -> NamedSharding:
            axes = (None,) * (leaf.ndim - 1) + ("model",) if leaf.ndim else ()
            return NamedSharding(mesh, PartitionSpec(*axes))

        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=sharding(leaf)
            ),
            make_state(0),
        )

    state = make_state(1)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, sharded((2, 4), 8))
    on_mesh = jax.tree.map(jax.device_put, state, shardings)
    run.checkpoints.save(on_mesh, config=CONFIG, epoch=1, validation_error=1.0)
    run.checkpoints.close()
    for wanted in (sharded((1, 8), 8), sharded((4, 2), 8), sharded((1, 1), 1)):
        restored = run.checkpoints.restore(wanted)
        assert_same(restored, state)
        assert restored is not None
        kernel = restored.params["fc"]["kernel"]
        assert kernel.sharding == wanted.params["fc"]["kernel"].sharding
    assert_same(run.checkpoints.restore(abstract(state)), state)


def test_keeps_the_last_two_and_the_best(run: Run):
    errors = {1: 9.0, 2: 3.0, 3: None, 4: 4.0, 5: 3.0, 6: None}
    kept = {1: [1], 2: [1, 2], 3: [2, 3], 4: [2, 3, 4], 5: [4, 5], 6: [5, 6]}
    for step, error in errors.items():
        run.save(step, error)
        run.checkpoints.wait()
        assert run.checkpoints.steps() == kept[step]
        assert run.checkpoints.last_step() == step
        assert os.readlink(run.directory / "last") == str(step)
    assert run.checkpoints.best_step() == 5  # the last of equals
    assert run.names() == ["5", "6", "best", "last"]
    assert os.readlink(run.directory / "best") == "5"

    state = abstract(make_state(0))
    for which, step in [("best", 5), ("last", 6), (5, 5), ("5", 5)]:
        params, batch_stats, found = run.checkpoints.restore_variables(
            state.params, state.batch_stats, which
        )
        assert found == step
        assert_same(params, make_state(step).params)
        assert_same(batch_stats, make_state(step).batch_stats)
    assert run.warnings == []


def test_going_on_from_an_older_step_deletes_the_newer(saved: Run):
    saved.save(2, 8.0)
    saved.checkpoints.close()
    assert saved.names() == ["1", "2", "best", "last"]
    record = json.loads((saved.directory / "2/record/data.json").read_text())
    assert record["content"]["validation_error"] == 8.0


def test_step_being_replaced_still_counts(saved: Run):
    (saved.directory / "3").rename(saved.directory / "3-replaced")
    (saved.directory / "3.orbax-checkpoint-tmp").mkdir()
    assert saved.checkpoints.steps() == [1, 2, 3]
    assert_same(saved.checkpoints.restore(abstract(make_state(0))), make_state(3))
    saved.save(3, 1.0)
    saved.checkpoints.close()
    assert saved.names() == ["2", "3", "best", "last"]
    assert saved.checkpoints.best_step() == 3


@pytest.mark.parametrize("item", ["params", "batch_stats", "opt_state"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damaged_array_is_named_and_passed_over(
    saved: Run, item: str, damage: str, capfd: pytest.CaptureFixture
):
    file = saved.largest_file(3, item)
    if damage == "flip":
        flip(file)
    elif damage == "truncate":
        os.truncate(file, file.stat().st_size // 2)
    else:
        file.unlink()
    state = abstract(make_state(0))
    assert_same(saved.checkpoints.restore(state), make_state(2))
    assert len(saved.warnings) == 1
    assert saved.warnings[0].startswith(f"checkpoint at step 3: {item}")
    assert saved.warnings[0].endswith("; using step 2")
    with pytest.raises(
        RunError, match=f"step 3: {item}.*; whole: --checkpoint=1, --checkpoint=2$"
    ):
        saved.checkpoints.restore(state, step=3)
    gc.collect()  # orbax's abandoned tasks would complain here
    assert capfd.readouterr().err == ""


def test_flipped_bit_names_the_array(saved: Run):
    flip(saved.largest_file(1))
    state = abstract(make_state(0))
    with pytest.raises(
        RunError,
        match=r"^checkpoint at step 1: params\.fc\.kernel: is not what was saved "
        r"\(fingerprint differs\); whole: --checkpoint=2, --checkpoint=3$",
    ):
        saved.checkpoints.restore_variables(state.params, state.batch_stats, "best")


def test_evaluation_does_not_read_the_optimizer(saved: Run):
    shutil.rmtree(saved.directory / "3" / "opt_state")
    state = abstract(make_state(0))
    params, _, step = saved.checkpoints.restore_variables(
        state.params, state.batch_stats, "last"
    )
    assert step == 3
    assert_same(params, make_state(3).params)


def test_every_damaged_small_file_is_found_or_harmless(saved: Run):
    """Whatever file is emptied, the result is step 3 exactly, or step 2 and a line."""
    state = abstract(make_state(0))
    whole = saved.directory.with_name("whole")
    shutil.copytree(saved.directory / "3", whole)
    files = [file.relative_to(whole) for file in whole.rglob("*") if file.is_file()]
    passed_over = 0
    for file in files:
        os.truncate(saved.directory / "3" / file, 0)
        saved.warnings.clear()
        restored = saved.checkpoints.restore(state)
        assert_same(restored, make_state(2 if saved.warnings else 3))
        passed_over += len(saved.warnings)
        shutil.copyfile(whole / file, saved.directory / "3" / file)
    assert passed_over >= 6  # manifest and data of each item at the least


def test_record_that_is_missing_or_damaged(saved: Run):
    (saved.directory / "3/record/data.json").unlink()
    record = saved.directory / "1/record/data.json"
    record.write_text(record.read_text().replace("5.0", "1.0"))
    assert saved.checkpoints.best_step() == 2
    assert_same(
        saved.checkpoints.restore(abstract(make_state(0))),
        make_state(2),
    )
    assert saved.warnings == [
        "checkpoint at step 3: cannot be verified, its record is not readable; "
        "using step 2"
    ]


def test_none_is_whole(saved: Run):
    for step in (1, 2, 3):
        flip(saved.largest_file(step))
    with pytest.raises(RunError, match=r"step 3: params\.fc\.kernel: .*; none in"):
        saved.checkpoints.restore(abstract(make_state(0)))


def test_other_network_is_refused_with_both_shapes(saved: Run):
    wider = abstract(make_state(0, width=101))
    with pytest.raises(
        UsageError,
        match=r"fc\.kernel is float32\[100,1000\] in the checkpoint and "
        r"float32\[101,1000\] in the network",
    ):
        saved.checkpoints.restore(wider)
    state = abstract(make_state(0))
    with pytest.raises(
        UsageError, match=r"batch_stats\.bn1\.mean is float32\[8\].*and missing in"
    ):
        saved.checkpoints.restore_variables(state.params, {})


def test_half_deleted_step_is_not_listed(saved: Run):
    (saved.directory / "3").rename(saved.directory / "3-deleted")
    shutil.rmtree(saved.directory / "3-deleted" / "params")
    assert saved.checkpoints.steps() == [1, 2]
    assert_same(saved.checkpoints.restore(abstract(make_state(0))), make_state(2))
    saved.save(4, 8.0)
    saved.checkpoints.close()
    assert saved.names() == ["1", "2", "4", "best", "last"]


def test_failed_deletion_is_a_warning(saved: Run):
    saved.save(4, 8.0)
    blocked = saved.directory / "2-deleted" / "in the way"
    blocked.mkdir(parents=True)
    saved.checkpoints.close()
    assert len(saved.warnings) == 1
    assert saved.warnings[0].startswith(f"{saved.directory / '2'}: not deleted (")
    assert saved.checkpoints.steps() == [1, 2, 3, 4]
    saved.save(5, 8.0)
    saved.checkpoints.close()
    assert saved.names() == ["1", "4", "5", "best", "last"]


def test_foreign_names_are_left_alone(saved: Run, tmp_path: Path):
    outside = tmp_path / "7"
    outside.mkdir()
    for name in ("notes", "2b", "2-deleted-not"):
        (saved.directory / name).mkdir()
    (saved.directory / "7").symlink_to(outside)
    (saved.directory / "0-deleted").symlink_to(outside)
    saved.save(8, 8.0)
    saved.checkpoints.close()
    expected = {"notes", "2b", "2-deleted-not", "7", "0-deleted", "1", "3", "8"}
    assert set(saved.names()) == expected | {"best", "last"}
    assert outside.is_dir()


def test_write_that_fails_is_reported_and_harmless(saved: Run):
    """A limit on the size of files stands for a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        saved.save(4, 1.0, width=2000)
        with pytest.raises(RunError) as raised:
            saved.checkpoints.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    text = str(raised.value)
    assert text.startswith("checkpoint at step 4: not saved to ")
    assert "File too large; it needs 15.3 MiB and " in text
    assert text.endswith("MiB are free; the same command goes on from step 3")
    assert saved.names() == ["1", "2", "3", "best", "last"]
    saved.checkpoints.close()
    assert_same(saved.checkpoints.restore(abstract(make_state(0))), make_state(3))


def test_directory_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").touch()
    run = Run(tmp_path / "file" / "checkpoints")
    with pytest.raises(RunError, match=r"Not a directory; it needs .* starts again$"):
        run.save(1)


def test_close_finds_what_the_disk_lost(run: Run):
    run.save(1, 1.0)
    run.checkpoints.wait()
    flip(run.largest_file(1))
    with pytest.raises(RunError, match=r"step 1: params\.fc\.kernel: .*no other"):
        run.checkpoints.close()


KILLED = """
import sys
from pathlib import Path
from tests.checkpoints.test_checkpoint import Run
run = Run(Path(sys.argv[1]))
step = 0
while True:
    step += 1
    run.save(step, 50.0 - step)
    print(step, flush=True)
"""


@pytest.mark.parametrize("delay_seconds", [0.0, 0.05])
def test_killed_while_saving(run: Run, delay_seconds: float):
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(run.directory)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        while int(child.stdout.readline()) < 3:
            pass
        time.sleep(delay_seconds)
        child.send_signal(signal.SIGKILL)
        told = [3, *map(int, child.stdout.read().split())][-1]
    restored = run.checkpoints.restore(abstract(make_state(0)))
    assert restored is not None and run.warnings == []
    assert told - 1 <= int(restored.step) <= told + 1
    assert_same(restored, make_state(int(restored.step)))
    run.save(100, 1.0)
    run.checkpoints.close()
    assert "100" in run.names()
    assert not [name for name in run.names() if "tmp" in name or "deleted" in name]
