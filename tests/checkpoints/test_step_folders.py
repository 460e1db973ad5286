"""Which steps count, which are kept, and which files are never touched."""

import json
import os
import shutil
from pathlib import Path

from tests.checkpoints.conftest import Run, assert_same, make_state


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
    for which, step in [("best", 5), ("last", 6), (5, 5), ("5", 5)]:
        params, batch_stats, found = run.restore_variables(which)
        assert found == step
        assert_same(params, make_state(step).params)
        assert_same(batch_stats, make_state(step).batch_stats)
    assert run.warnings == []


def test_a_step_is_on_the_disk_before_an_older_one_is_deleted(run: Run, monkeypatch):
    synced: set[int] = set()  # inodes
    at_deletion: list[set[int]] = []
    fsync, rename = os.fsync, os.rename

    def noted_fsync(descriptor):
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def noted_rename(source, target, **where):
        if str(target).endswith("-deleted"):
            at_deletion.append(set(synced))
        rename(source, target, **where)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    for step in (1, 2, 3):
        run.save(step)
    run.checkpoints.wait()
    assert run.checkpoints.steps() == [2, 3] and len(at_deletion) == 1
    saved = [*(run.directory / "3").rglob("*"), run.directory / "3", run.directory]
    missing = [path for path in saved if path.stat().st_ino not in at_deletion[0]]
    assert not missing


def test_continuing_from_an_older_step_deletes_the_newer(saved: Run):
    saved.save_and_close(2, 8.0)
    assert saved.names() == ["1", "2", "best", "last"]
    record = json.loads((saved.directory / "2/record/data.json").read_text())
    assert record["content"]["validation_error"] == 8.0


def test_step_being_replaced_still_counts(saved: Run):
    (saved.directory / "3").rename(saved.directory / "3-replaced")
    (saved.directory / "3.orbax-checkpoint-tmp").mkdir()
    assert saved.checkpoints.steps() == [1, 2, 3]
    saved.assert_newest(3)
    saved.save_and_close(3, 1.0)
    assert saved.names() == ["2", "3", "best", "last"]
    assert saved.checkpoints.best_step() == 3


def test_half_deleted_step_is_not_listed(saved: Run):
    (saved.directory / "3").rename(saved.directory / "3-deleted")
    shutil.rmtree(saved.directory / "3-deleted" / "params")
    assert saved.checkpoints.steps() == [1, 2]
    saved.assert_newest(2)
    saved.save_and_close(4, 8.0)
    assert saved.names() == ["1", "2", "4", "best", "last"]


def test_failed_deletion_is_a_warning(saved: Run):
    (saved.directory / "2-deleted").touch()  # in the way
    saved.save_and_close(4, 8.0)
    (warning,) = saved.warnings
    assert warning.startswith(f"{saved.directory / '2'}: not deleted (")
    assert saved.checkpoints.steps() == [1, 2, 3, 4]
    (saved.directory / "2-deleted").unlink()
    saved.save_and_close(5, 8.0)
    assert saved.names() == ["1", "4", "5", "best", "last"]


def test_foreign_names_are_left_alone(saved: Run, tmp_path: Path):
    outside = tmp_path / "7"
    outside.mkdir()
    foreign = {"notes", "2b", "2-deleted-not", "007", "02-deleted", "20261125", "9"}
    for name in foreign:
        (saved.directory / name).mkdir()
    (saved.directory / "20261125" / "thesis.tex").touch()
    (saved.directory / "٣").mkdir()  # a digit, but not one of ours
    (saved.directory / "7").symlink_to(outside)
    (saved.directory / "0-deleted").symlink_to(outside)
    assert saved.checkpoints.steps() == [1, 2, 3]
    saved.save_and_close(8, 8.0)
    expected = foreign | {"٣", "7", "0-deleted", "1", "3", "8", "best", "last"}
    assert set(saved.names()) == expected
    assert outside.is_dir()
