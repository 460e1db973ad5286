"""From the files of trials to their states, results.csv, the table and the pictures."""

import json

import cv2
import pytest

from cnn_arch.sweeps import figure, manifest, progress, results, view

METRICS = "epoch,step,validation_top1_error\n1,5,60.0\n2,10,20.5\n3,15,30.25\n"


@pytest.fixture
def sweep(tmp_path):
    """One trial that is done, one that crashed, one that has not started."""
    overrides = [
        {"seed": 0, "batch_size": 8},
        {"seed": 1, "batch_size": 80},
        {"seed": 2},
    ]
    made = manifest.open_or_make(tmp_path, ["--config=x.py"], overrides, {}, 3)
    done, crashed, _ = made.trials
    for trial in (done, crashed):
        made.path(trial).mkdir()
        (made.path(trial) / "metrics.csv").write_text(METRICS)
        (made.path(trial) / "config.json").write_text('{"epochs": 3.0}')
    (made.path(done) / "README.md").write_text("")
    (made.path(done) / "eval").mkdir()
    test = {"test": {"top1_error": 21.5}}
    (made.path(done) / "eval" / "results.json").write_text(json.dumps(test))
    (made.path(crashed) / "crash.txt").write_text("Traceback ...\nValueError: no\n")
    done.state, crashed.state = "done", "failed"
    return made


def test_states_of_ended_trials(sweep):
    done, crashed, waiting = sweep.trials
    assert progress.ended_state(sweep, done) == "done"
    assert progress.ended_state(sweep, crashed) == "failed"
    assert progress.ended_state(sweep, waiting) == "stopped"
    (sweep.path(crashed) / "diverged.json").write_text("{}")
    assert progress.ended_state(sweep, crashed) == "diverged"
    for name in ("crash.txt", "diverged.json"):
        (sweep.path(crashed) / name).unlink()
    assert progress.ended_state(sweep, crashed) == "stopped"
    # After a wrong option train.py prints an error and makes no run directory.
    sweep.log(waiting).parent.mkdir()
    sweep.log(waiting).write_text("run      x\nerror: --config.seed=-1: must be\n")
    assert progress.ended_state(sweep, waiting) == "failed"
    assert progress.failure(sweep, waiting) == "error: --config.seed=-1: must be"


def test_an_incomplete_row_is_left_out(sweep):
    workdir = sweep.path(sweep.trials[0])
    with (workdir / "metrics.csv").open("a") as file:
        file.write("4,20,3")
    assert progress.read_errors(workdir) == {1.0: 60.0, 2.0: 20.5, 3.0: 30.25}


def test_results_csv_has_a_line_for_each_trial(sweep):
    assert results.write(sweep)[0] == "results.csv"
    errors = "validation_top1_error,test_top1_error"
    assert (sweep.workdir / "results.csv").read_text().splitlines() == [
        f"trial,seed,batch_size,{errors},epochs,state,workdir",
        f"trial-00,0,8,20.5,21.5,3.0,done,{sweep.workdir}/trial-00",
        f"trial-01,1,80,20.5,,3.0,failed,{sweep.workdir}/trial-01",
        f"trial-02,2,,,,0,waiting,{sweep.workdir}/trial-02",
    ]


def test_the_best_trial_is_a_finished_one(sweep):
    path = sweep.path(sweep.trials[1]) / "metrics.csv"
    path.write_text("epoch,validation_top1_error\n1,1.0\n")
    best = results.best(sweep)
    assert best and best.name == "trial-00"


def test_the_table(sweep):
    assert view.table(sweep) == [
        "trial     state      epoch   error  lowest  settings",
        "trial-00  done         3/3   30.25   20.50  seed=0  batch_size=8",
        "trial-01  failed       3/3   30.25   20.50  seed=1  batch_size=80",
        "trial-02  waiting                           seed=2",
    ]
    assert view.counts(sweep) == "1 waiting, 1 done, 1 failed"


def test_the_figures_are_drawn(sweep):
    assert results.write(sweep)[1:] == ["plots/errors.png", "plots/parallel.png"]
    for name in ("errors", "parallel"):
        picture = cv2.imread(str(sweep.workdir / "plots" / f"{name}.png"))
        assert picture is not None and picture.std() > 5


def test_heights_of_numbers_and_words():
    heights, ticks = figure._positions([0.001, 0.01, 0.1])  # on a log axis
    assert heights == pytest.approx([0, 0.5, 1])
    assert [text for _, text in ticks] == ["0.001", "0.01", "0.1"]
    heights, _ = figure._positions([1, 2, 3])
    assert heights == pytest.approx([0, 0.5, 1])
    heights, ticks = figure._positions(["cosine", "step", "cosine"])
    assert heights == [0, 1, 0]
    assert ticks == [(0, "cosine"), (1, "step")]
    assert figure._positions([[1, 2], [3]])[0] == [0, 1]
