"""The record of a sweep: written, read, and locked."""

import json
import os

import pytest

from cnn_arch.errors import UsageError
from cnn_arch.sweeps import manifest

WORDS = ["--config=configs/lenet5.py"]
TRIALS = [{"seed": 0}, {"seed": 1}]


def make(workdir, trials=TRIALS, words=WORDS):
    return manifest.open_or_make(workdir, words, trials, {}, len(trials))


def test_a_saved_sweep_is_loaded(tmp_path):
    sweep = make(tmp_path / "sweep")
    sweep.trials[1].state, sweep.trials[1].job = "running", "17"
    sweep.workdir.mkdir()
    sweep.save()
    assert manifest.load(tmp_path / "sweep") == sweep
    assert make(tmp_path / "sweep") == sweep
    assert [path.name for path in sweep.workdir.iterdir()] == ["manifest.json"]


def test_trials_train_by_default_or_run_another_command(tmp_path):
    sweep = make(tmp_path / "sweep")
    python, program, *_, workdir = sweep.command(sweep.trials[0])
    assert program.endswith("/train.py") and workdir.endswith("/trial-00")
    sweep.workdir.mkdir()
    sweep.save()
    stored = json.loads((tmp_path / "sweep" / "manifest.json").read_text())
    del stored["program"]  # as of an earlier version
    (tmp_path / "sweep" / "manifest.json").write_text(json.dumps(stored))
    assert manifest.load(tmp_path / "sweep") == sweep
    sweep.program = ["analyze.py", "--measure"]
    again, program, first, *_ = sweep.command(sweep.trials[0])
    assert again == python and program.endswith("/analyze.py") and first == "--measure"


def test_a_moved_sweep_is_read_at_its_new_place(tmp_path):
    sweep = make(tmp_path / "one")
    sweep.workdir.mkdir()
    sweep.save()
    moved = sweep.workdir.rename(tmp_path / "other")
    assert manifest.load(moved).path(sweep.trials[0]) == moved / "trial-00"


def test_another_sweep_is_refused(tmp_path):
    make(tmp_path).save()
    with pytest.raises(UsageError, match=r"contains another sweep \(--config=configs/"):
        make(tmp_path, trials=[{"seed": 0}])
    with pytest.raises(UsageError, match="contains another sweep"):
        make(tmp_path, words=[*WORDS, "--config.epochs=3"])


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="contains other files"):
        make(tmp_path)
    with pytest.raises(UsageError, match="no sweep there"):
        manifest.load(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"trials": [{"name": "../x"}]}'])
def test_a_damaged_record_is_refused(text, tmp_path):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UsageError, match="not a record of a sweep"):
        manifest.load(tmp_path)


def test_a_trial_is_always_inside_its_sweep(tmp_path):
    sweep = make(tmp_path)
    sweep.trials[0].name = "../elsewhere"
    sweep.save()
    with pytest.raises(UsageError, match="trials are not in order"):
        manifest.load(tmp_path)


def test_one_launcher_at_a_time(tmp_path):
    sweep = make(tmp_path)
    owner = rf"\(process {os.getpid()} on .*, since .*\) uses it; .*--status"
    with sweep.held(), pytest.raises(UsageError, match=owner):
        with sweep.held():
            pass
    with sweep.held():  # the lock is free again
        pass


def test_a_launcher_reads_what_the_last_one_wrote(tmp_path):
    sweep, other = make(tmp_path), make(tmp_path)
    with other.held():
        other.trials[0].state = "done"
        other.save()
    with sweep.held():
        assert sweep.trials[0].state == "done"


def test_a_sweep_cannot_move_while_trials_run(tmp_path):
    sweep = make(tmp_path)
    sweep.move_to("slurm")
    sweep.trials[1].state = "queued"
    sweep.move_to("slurm")
    with pytest.raises(UsageError, match="trial-01 is queued on slurm; wait until"):
        sweep.move_to("local")
