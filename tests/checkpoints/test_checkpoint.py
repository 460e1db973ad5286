"""Checkpoints: exact round trips, every kind of damage, failed and killed saves."""

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from cnn_arch.checkpoints import step_folders
from cnn_arch.checkpoints.checkpoint import Checkpoints
from cnn_arch.checkpoints.orbax_adapter import LiteralPath
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
    run.save(0)  # is read back before it returns; later saves are not
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
        saved.checkpoints.restore_variables({"params": params, "batch_stats": {}})


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
        RunError,
        match=f"step 3: {item}.*; eval.py can use --checkpoint=1 or --checkpoint=2$",
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
        r"\(fingerprint differs\); eval.py can use --checkpoint=2 or --checkpoint=3; "
        rf"delete {saved.directory}/1, and the best of the others counts$",
    ):
        saved.restore_variables("best")
    shutil.rmtree(saved.directory / "1")
    assert saved.restore_variables("best")[2] == 3


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


def test_record_that_is_missing(saved: Run):
    (saved.directory / "3/record/data.json").unlink()
    saved.assert_newest(2)
    assert saved.warnings == [
        "checkpoint at step 3: cannot be verified, its record is not readable; "
        "using step 2"
    ]


def test_the_best_stays_the_best_when_its_record_is_damaged(saved: Run):
    """It is named and not deleted; no other step is taken for it."""
    record = saved.directory / "1/record/data.json"
    record.write_text(record.read_text().replace("5.0", "9.0"))
    others = "eval.py can use --checkpoint=2 or --checkpoint=3; delete"
    for errors in (None, {1: 5.0, 2: 7.0, 3: 6.0}):
        saved.errors = errors
        with pytest.raises(RunError, match=f"step 1: .* record is damaged; {others}"):
            saved.restore_variables("best")
    saved.save_and_close(4, 8.0)
    assert saved.names() == ["1", "3", "4", "best", "last"]
    assert os.readlink(saved.directory / "best") == "1"
    # Its error is known, so a step can be better.
    saved.errors = {1: 5.0, 3: 6.0, 4: 8.0}
    saved.save_and_close(5, 4.0)
    assert saved.restore_variables("best")[2] == 5


def test_a_damaged_record_of_another_step_does_not_hide_the_best(saved: Run):
    flip(saved.directory / "3/record/data.json")
    saved.errors = {1: 5.0, 2: 7.0, 3: 6.0}
    assert saved.restore_variables("best")[2] == 1
    saved.errors = {1: 5.0, 2: 7.0}  # step 3 was saved within an epoch
    assert saved.restore_variables("best")[2] == 1
    saved.errors = None
    with pytest.raises(RunError, match="step 3: cannot be verified"):
        saved.restore_variables("best")


def test_all_are_damaged(saved: Run):
    for step in (1, 2, 3):
        flip(saved.largest_file(step))
    with pytest.raises(RunError, match=r"step 3: params\.fc\.kernel: .*; all in"):
        saved.restore()


def test_close_finds_a_bit_that_the_disk_changed(saved: Run):
    saved.save(4, 1.0)
    saved.save(5, 1.0)
    saved.checkpoints.wait()
    flip(saved.largest_file(5))
    with pytest.raises(
        RunError, match=r"step 5: params\.fc\.kernel: .*eval.py can use"
    ):
        saved.checkpoints.close()


def test_the_first_save_is_read_back_at_once(run: Run, monkeypatch):
    """A disk that changes a bit is found before a day of training."""
    sync = step_folders.sync_to_disk

    def sync_and_flip(path: Path) -> None:
        sync(path)
        flip(run.largest_file(int(path.name)))

    monkeypatch.setattr(step_folders, "sync_to_disk", sync_and_flip)
    with pytest.raises(RunError, match=r"step 1: params\.fc\..*no other is intact"):
        run.save(1)


def test_any_name_of_a_folder(tmp_path: Path):
    """A pattern would find nothing in ``[b]``, and ``stars`` in ``st*``."""
    name = """st* a[b] **? 100%20 ünï 😀 {1,2}'"$HOME"""
    (tmp_path / "stars a[b] **? 100%20 ünï").mkdir()
    run = Run(tmp_path / name / "checkpoints")
    run.save(1, 1.0)
    run.assert_newest(1)
    assert run.restore_variables("best")[2] == 1


def test_folders_that_look_like_clouds_are_local():
    for name in ("gs", "s3", "az", "hf"):
        path = LiteralPath(f"/{name}/runs") / "1"
        assert os.fspath(path) == f"/{name}/runs/1"
        assert not list(path.glob("*"))


# Saves that are killed.


KILLED = """
import itertools, sys
from pathlib import Path
from tests.checkpoints.conftest import Run
run = Run(Path(sys.argv[1]))
for step in itertools.count(1):
    run.save(step, 50.0 - step)
    print(step, flush=True)
"""


def test_killed_while_saving(run: Run):  # tests/campaign kills at other moments
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
        child.send_signal(signal.SIGKILL)
        last_printed = [3, *map(int, child.stdout.read().split())][-1]
    restored = run.restore()
    assert restored is not None and run.warnings == []
    assert last_printed - 1 <= int(restored.step) <= last_printed + 1
    assert_same(restored, make_state(int(restored.step)))
    run.save_and_close(100, 1.0)
    assert "100" in run.names()
    assert not [name for name in run.names() if "tmp" in name or "deleted" in name]
