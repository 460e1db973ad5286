"""The search, on trials whose metrics the tests write."""

import json

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from cnn_arch.errors import RunError
from cnn_arch.sweeps import manifest
from cnn_arch.sweeps.search import Search

SPACE = {
    "optim.learning_rate": {"low": 1e-3, "high": 1.0, "log": True},
    "batch_size": [32, 64],
}


def make(folder, num_trials=20):
    folder.mkdir(exist_ok=True)
    return manifest.open_or_make(folder, ["--config=x.py"], [], SPACE, num_trials)


def write(sweep, trial, errors, state="running", epochs=10.0):
    """Writes a trial's files so far: a validation error after each epoch."""
    workdir = sweep.path(trial)
    workdir.mkdir(exist_ok=True)
    (workdir / "config.json").write_text(json.dumps({"epochs": epochs}))
    rows = [f"{epoch},{error}" for epoch, error in enumerate(errors, start=1)]
    lines = ["epoch,validation_top1_error", *rows]
    (workdir / "metrics.csv").write_text("\n".join(lines) + "\n")
    trial.state = state


def begin(search):
    trial = search.next_trial()
    assert trial
    return trial


def test_the_median_of_three_decides(tmp_path):
    sweep = make(tmp_path)
    search = Search(sweep)
    for start in (60, 70, 80):  # errors after the third epoch: 30, 40, 50
        trial = begin(search)
        write(sweep, trial, [start - 10 * epoch for epoch in range(1, 11)], "done")
        assert not search.follow(trial)
    trial = begin(search)
    write(sweep, trial, [99, 99])  # no trial is stopped in the first fifth
    assert not search.follow(trial)
    write(sweep, trial, [99, 99, 39])
    assert not search.follow(trial)
    other = begin(search)
    write(sweep, other, [99, 99, 41])
    assert search.follow(other)
    other.state = "pruned"
    assert not search.follow(other)
    study = optuna.load_study(  # pruned errors count in later draws, failed do not
        study_name=sweep.name,
        storage=JournalStorage(
            JournalFileBackend(str(tmp_path / "optuna_journal.log"))
        ),
    )
    states = [each.state.name for each in study.trials]
    assert states == ["COMPLETE", "COMPLETE", "COMPLETE", "RUNNING", "PRUNED"]


def test_no_trial_is_stopped_before_three_are_done(tmp_path):
    sweep = make(tmp_path)
    search = Search(sweep)
    for errors in ([50] * 10, [40] * 10):
        trial = begin(search)
        write(sweep, trial, errors, "done")
        search.follow(trial)
    trial = begin(search)
    write(sweep, trial, [99] * 5)
    assert not search.follow(trial)


def test_a_killed_search_continues_with_the_same_draws(tmp_path):
    drawn = []
    for folder, is_killed in (("whole", False), ("killed", True)):
        sweep = make(tmp_path / folder)
        search = Search(sweep)
        for _ in range(15):  # TPE draws the first ten at random
            if is_killed:
                sweep.save()
                sweep = manifest.load(sweep.workdir)
                journal = sweep.workdir / "optuna_journal.log"
                with journal.open("ab") as file:
                    file.write(b'{"op_code":4,"wor')  # incomplete because of the kill
                (sweep.workdir / "optuna_journal.log.lock").symlink_to(journal)
                search = Search(sweep)
            trial = begin(search)
            rate = trial.overrides["optim.learning_rate"]
            write(sweep, trial, [100 * abs(rate - 0.1)] * 3, "done", epochs=3.0)
            search.follow(trial)
        drawn.append([trial.overrides for trial in sweep.trials])
    assert drawn[0] == drawn[1]
    rates = [each["optim.learning_rate"] for each in drawn[0]]
    assert len(set(rates)) == 15
    assert all(1e-3 <= rate <= 1.0 for rate in rates)
    assert {each["batch_size"] for each in drawn[0]} == {32, 64}


def test_it_ends_after_num_trials(tmp_path):
    sweep = make(tmp_path, num_trials=2)
    search = Search(sweep)
    assert search.next_trial() and search.next_trial()
    assert search.next_trial() is None


def test_it_gives_up_if_all_trials_fail(tmp_path):
    sweep = make(tmp_path)
    search = Search(sweep)
    for _ in range(3):
        trial = begin(search)
        trial.state = "failed"
        search.follow(trial)
    with pytest.raises(RunError, match=r"the first 3 trials failed; see .*trial-00"):
        search.next_trial()


def test_a_draw_that_a_kill_lost_is_drawn_again(tmp_path):
    sweep = make(tmp_path)
    sweep.save()
    lost = begin(Search(sweep))  # and not saved
    sweep = manifest.load(tmp_path)
    again = begin(Search(sweep))
    assert (again.name, again.overrides) == (lost.name, lost.overrides)
    assert again.study_number != lost.study_number
