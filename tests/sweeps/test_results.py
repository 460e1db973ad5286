"""From the files of trials to what is said of them, and the pictures."""

import csv
import json

import cv2
import pytest

from cnn_arch.sweeps import figure, manifest, progress, results, view

METRICS = "epoch,step,validation_top1_error\n1,5,60.0\n2,10,20.5\n3,15,30.25\n"


@pytest.fixture
def sweep(tmp_path):
    """One trial that is through, one that crashed, one that has not begun."""
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


def test_what_became_of_trials(sweep):
    done, crashed, waiting = sweep.trials
    assert progress.ended_state(sweep, done) == "done"
    assert progress.ended_state(sweep, crashed) == "failed"
    assert progress.ended_state(sweep, waiting) == "stopped"
    (sweep.path(crashed) / "crash.txt").unlink()
    assert progress.ended_state(sweep, crashed) == "stopped"
    # What was given was wrong: train.py says so and leaves no run directory.
    sweep.log(waiting).parent.mkdir()
    sweep.log(waiting).write_text("run      x\nerror: --config.seed=-1: must be\n")
    assert progress.ended_state(sweep, waiting) == "failed"
    assert progress.failure(sweep, waiting) == "error: --config.seed=-1: must be"


def test_a_row_that_is_being_written_is_left_out(sweep):
    workdir = sweep.path(sweep.trials[0])
    with (workdir / "metrics.csv").open("a") as file:
        file.write("4,20,3")
    assert progress.read_errors(workdir) == {1.0: 60.0, 2.0: 20.5, 3.0: 30.25}


def test_results_are_those_of_the_trials(sweep):
    assert results.write(sweep)[0] == "results.csv"
    with (sweep.workdir / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [list(row.values()) for row in rows] == [
        [
            "trial-00",
            "0",
            "8",
            "20.5",
            "21.5",
            "3.0",
            "done",
            f"{sweep.workdir}/trial-00",
        ],
        [
            "trial-01",
            "1",
            "80",
            "20.5",
            "",
            "3.0",
            "failed",
            f"{sweep.workdir}/trial-01",
        ],
        ["trial-02", "2", "", "", "", "0", "waiting", f"{sweep.workdir}/trial-02"],
    ]
    assert list(rows[0])[:4] == ["trial", "seed", "batch_size", "validation_top1_error"]


def test_the_best_is_one_that_came_to_its_end(sweep):
    path = sweep.path(sweep.trials[1]) / "metrics.csv"
    path.write_text("epoch,validation_top1_error\n1,1.0\n")
    best = results.best(sweep)
    assert best and best.name == "trial-00"


def test_the_table(sweep):
    assert [line.split()[:5] for line in view.table(sweep)[1:3]] == [
        ["trial-00", "done", "3/3", "30.25", "20.50"],
        ["trial-01", "failed", "3/3", "30.25", "20.50"],
    ]
    assert view.table(sweep)[3].split() == ["trial-02", "waiting", "seed=2"]
    assert view.counts(sweep) == "1 waiting, 1 done, 1 failed"


def test_the_figures_are_drawn(sweep):
    assert results.write(sweep)[1:] == ["plots/errors.png", "plots/parallel.png"]
    for name in ("errors", "parallel"):
        picture = cv2.imread(str(sweep.workdir / "plots" / f"{name}.png"))
        assert picture is not None and picture.std() > 5


def test_heights_on_a_log_axis_by_hand():
    heights, ticks = figure._positions([0.001, 0.01, 0.1])
    assert heights == pytest.approx([0, 0.5, 1])
    assert [text for _, text in ticks] == ["0.001", "0.01", "0.1"]
    heights, _ = figure._positions([1, 2, 3])
    assert heights == pytest.approx([0, 0.5, 1])
    heights, ticks = figure._positions(["cosine", "step", "cosine"])
    assert heights == [0, 1, 0]
    assert ticks == [(0, "cosine"), (1, "step")]
    assert figure._positions([[1, 2], [3]])[0] == [0, 1]
