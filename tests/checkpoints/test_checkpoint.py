"""Checkpoints: exact round trips, every kind of damage, failed and killed saves."""

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
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from cnn_arch.checkpoints.checkpoint import Checkpoints
from cnn_arch.errors import RunError, UsageError
from tests.checkpoints.conftest import CONFIG, Run, abstract, assert_same, make_state


def flip(file: Path) -> None:
    """Flips one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


# Exact round trips.


def test_round_trip_is_exact(saved: Run):
    restored = Checkpoints(saved.directory, warn=pytest.fail).restore(
        abstract(make_state(0))
    )
    assert_same(restored, make_state(3))
    config = json.loads((saved.directory / "3/config/data.json").read_text())
    assert config == CONFIG


def test_no_checkpoint(run: Run):
    assert run.restore() is None
    assert run.checkpoints.steps() == []
    assert run.checkpoints.best_step() is None and run.checkpoints.last_step() is None
    for which in ("best", 3):
        with pytest.raises(UsageError, match=f"--checkpoint={which}: .*there: none"):
            run.restore_variables(which)


def test_network_without_batch_statistics(run: Run):
    state = make_state(1).replace(batch_stats={})
    run.save_state(state)
    run.checkpoints.close()
    assert_same(run.checkpoints.restore(abstract(state)), state)


def test_donated_state_is_saved_as_it_was(run: Run):
    state = make_state(1)
    run.save_state(state)
    step = jax.jit(
        lambda tree: jax.tree.map(lambda leaf: leaf * 0 + 7, tree), donate_argnums=0
    )
    # XLA reuses the arrays, or copies those that the save is still reading.
    jax.block_until_ready(step(state))
    run.checkpoints.close()
    run.assert_newest(1)


def on_mesh(data: int, model: int) -> Any:
    """Returns an abstract state that is split over devices by the last axes."""
    devices = jax.devices()[: data * model]
    mesh = jax.make_mesh((data, model), ("data", "model"), devices=devices)

    def split(leaf: jax.Array) -> jax.ShapeDtypeStruct:
        axes = (None,) * (leaf.ndim - 1) + ("model",) if leaf.ndim else ()
        sharding = NamedSharding(mesh, PartitionSpec(*axes))
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(split, make_state(0))


def test_restores_on_any_mesh(run: Run):
    shardings = jax.tree.map(lambda leaf: leaf.sharding, on_mesh(2, 4))
    state = jax.tree.map(jax.device_put, make_state(1), shardings)
    run.save_state(state)
    run.checkpoints.close()
    for wanted in (on_mesh(1, 8), on_mesh(4, 2), on_mesh(1, 1)):
        restored = run.checkpoints.restore(wanted)
        assert restored is not None
        assert_same(restored, state)
        kernel = restored.params["fc"]["kernel"]
        assert kernel.sharding == wanted.params["fc"]["kernel"].sharding
    run.assert_newest(1)


def test_evaluation_does_not_read_the_optimizer(saved: Run):
    shutil.rmtree(saved.directory / "3" / "opt_state")
    params, _, step = saved.restore_variables("last")
    assert step == 3
    assert_same(params, make_state(3).params)


def test_other_network_is_refused_with_both_shapes(saved: Run):
    wider = abstract(make_state(0, width=101))
    with pytest.raises(
        UsageError,
        match=r"fc\.kernel is float32\[100,1000\] in the checkpoint and "
        r"float32\[101,1000\] in the network",
    ):
        saved.checkpoints.restore(wider)
    params = abstract(make_state(0)).params
    with pytest.raises(
        UsageError, match=r"batch_stats\.bn1\.mean is float32\[8\].*and missing in"
    ):
        saved.checkpoints.restore_variables(params, {})


# Damage.


@pytest.mark.parametrize("item", ["params", "batch_stats", "opt_state"])
@pytest.mark.parametrize(
    "damage",
    [flip, lambda file: os.truncate(file, file.stat().st_size // 2), os.remove],
)
def test_damaged_array_is_named_and_skipped(
    saved: Run, item: str, damage: Any, capfd: pytest.CaptureFixture
):
    gc.freeze()  # only the objects from here on are collected below, in a moment
    damage(saved.largest_file(3, item))
    saved.assert_newest(2)
    (warning,) = saved.warnings
    assert warning.startswith(f"checkpoint at step 3: {item}")
    assert warning.endswith("; using step 2")
    with pytest.raises(
        RunError, match=f"step 3: {item}.*; use --checkpoint=1 or --checkpoint=2$"
    ):
        saved.restore(step=3)
    gc.collect()  # Python would complain of orbax's abandoned reads here
    gc.unfreeze()
    assert capfd.readouterr().err == ""


def test_flipped_bit_names_the_array(saved: Run):
    flip(saved.largest_file(1))
    with pytest.raises(
        RunError,
        match=r"^checkpoint at step 1: params\.fc\.kernel: is not what was saved "
        r"\(fingerprint differs\); use --checkpoint=2 or --checkpoint=3$",
    ):
        saved.restore_variables("best")


def test_every_damaged_small_file_is_found_or_harmless(saved: Run):
    """With any file empty, the result is exactly step 3, or step 2 and a warning."""
    whole = saved.directory.with_name("whole")
    shutil.copytree(saved.directory / "3", whole)
    files = [file.relative_to(whole) for file in whole.rglob("*") if file.is_file()]
    num_skipped = 0
    for file in files:
        os.truncate(saved.directory / "3" / file, 0)
        saved.warnings.clear()
        restored = saved.restore()
        assert_same(restored, make_state(2 if saved.warnings else 3))
        num_skipped += len(saved.warnings)
        shutil.copyfile(whole / file, saved.directory / "3" / file)
    assert num_skipped >= 6  # at least for manifest and data of each item


def test_record_that_is_missing_or_damaged(saved: Run):
    (saved.directory / "3/record/data.json").unlink()
    record = saved.directory / "1/record/data.json"
    record.write_text(record.read_text().replace("5.0", "1.0"))
    assert saved.checkpoints.best_step() == 2
    saved.assert_newest(2)
    assert saved.warnings == [
        "checkpoint at step 3: cannot be verified, its record is not readable; "
        "using step 2"
    ]


def test_all_are_damaged(saved: Run):
    for step in (1, 2, 3):
        flip(saved.largest_file(step))
    with pytest.raises(RunError, match=r"step 3: params\.fc\.kernel: .*; all in"):
        saved.restore()


def test_close_finds_a_bit_that_the_disk_changed(run: Run):
    run.save(1, 1.0)
    run.checkpoints.wait()
    flip(run.largest_file(1))
    with pytest.raises(RunError, match=r"step 1: params\.fc\.kernel: .*no other"):
        run.checkpoints.close()


# Saves that fail.


def test_write_that_fails_is_reported_and_harmless(saved: Run):
    """A limit on the size of files simulates a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        saved.save_state(make_state(4, width=2000), 1.0)
        with pytest.raises(RunError) as raised:
            saved.checkpoints.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    text = str(raised.value)
    assert text.startswith("checkpoint at step 4: not saved to ")
    assert "File too large; it needs 15.3 MiB and " in text
    assert text.endswith("MiB are free; the same command continues from step 3")
    assert saved.names() == ["1", "2", "3", "best", "last"]
    saved.checkpoints.close()
    saved.assert_newest(3)


def test_directory_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").touch()
    run = Run(tmp_path / "file" / "checkpoints")
    with pytest.raises(RunError, match=r"Not a directory; it needs .* starts again$"):
        run.save(1)


KILLED = """
import itertools, sys
from pathlib import Path
from tests.checkpoints.conftest import Run
run = Run(Path(sys.argv[1]))
for step in itertools.count(1):
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
        last_printed = [3, *map(int, child.stdout.read().split())][-1]
    restored = run.restore()
    assert restored is not None and run.warnings == []
    assert last_printed - 1 <= int(restored.step) <= last_printed + 1
    assert_same(restored, make_state(int(restored.step)))
    run.save_and_close(100, 1.0)
    assert "100" in run.names()
    assert not [name for name in run.names() if "tmp" in name or "deleted" in name]
