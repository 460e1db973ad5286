"""What is measured of a run's files, and how it is written."""

import json

import pytest

from cnn_arch import settings
from cnn_arch.errors import UsageError
from cnn_arch.experiments import measures, page, plan, record, rules
from cnn_arch.experiments.rules import Bound
from cnn_arch.screen import Screen
from cnn_arch.sweeps import manifest

HEAD = "epoch,step,train_top1_error,validation_top1_error,seconds\n"
ROWS = "1,100,60,55,30\n2,200,40,45,30\n3,300,20,30,60\n"


@pytest.fixture
def workdir(tmp_path):
    (tmp_path / "metrics.csv").write_text(HEAD + ROWS)
    (tmp_path / "eval").mkdir()
    results = {"test": {"top1_error": 32.5}}
    (tmp_path / "eval" / "results.json").write_text(json.dumps(results))
    return tmp_path


def test_numbers_of_a_run(workdir):
    assert measures.take("training_error", workdir) == 20
    assert measures.take("test_error", workdir) == 32.5
    assert measures.take("gap", workdir) == 12.5
    assert measures.minutes(workdir) == 2
    assert measures.curve(workdir) == [[1, 60, 55], [2, 40, 45], [3, 20, 30]]


def test_steps_to_an_error_are_between_two_epochs(workdir):
    """From 40 % at step 200 to 20 % at step 300: 25 % at step 275, 80 % at step 50."""
    assert measures.take("steps_to_training_error:25", workdir) == 275
    assert measures.take("steps_to_training_error:80", workdir) == 50
    assert measures.take("steps_to_training_error:10", workdir) == Bound(300)


def test_a_record_is_read_as_it_was_written(tmp_path):
    run = {"variant": "a", "curve": [[1, 50, 60]], "minutes": 1.5}
    found = {
        "runs": {
            "trial-00": {**run, "numbers": {"steps": {"at_least": 300}}},
            "trial-01": {**run, "numbers": {"steps": 250.0}},
        }
    }
    record.save(found, tmp_path)
    again = record.load(tmp_path)
    assert again is not None
    assert record.numbers(again) == {"a": {"steps": [Bound(300), 250.0]}}
    assert record.curves(again) == {"a": [[[1, 50, 60]], [[1, 50, 60]]]}
    assert record.minutes(again) == 3
    (tmp_path / record.NAME).write_text("{")
    with pytest.raises(UsageError, match="delete it to measure the runs again"):
        record.load(tmp_path)


def test_an_outcome_is_one_line():
    rule = rules.Comparison("difference", "test_error", "a", "b", -1.0, 1.0)
    found = {"a": {"test_error": [10.0, 10.2]}, "b": {"test_error": [10.1, 10.1]}}
    line = page.describe(rule, rules.compare(rule, found))
    start = "test error: a - b is above -1 and below 1: not decided at this size"
    assert line.startswith(f"{start} (0, -1.27 to 1.27)")


def test_minutes_to_an_error_are_those_of_the_validation(workdir):
    """From 45 % after a minute to 30 % after two: 37.5 % after a minute and a half."""
    assert measures.take("minutes_to_validation_error:37.5", workdir) == 1.5
    assert measures.take("minutes_to_validation_error:1", workdir) == Bound(2)


def test_costs_are_those_of_the_runs_network(workdir):
    config, _ = settings.parse(["--config=lenet5"])
    (workdir / "config.json").write_text(settings.to_json(config))
    (workdir / "classes.json").write_text(json.dumps([str(i) for i in range(10)]))
    assert measures.take("parameters", workdir) == 60_850
    assert measures.take("macs", workdir) == pytest.approx(0.42, abs=0.005)


def test_a_measure_has_the_arguments_that_there_are():
    with pytest.raises(KeyError, match="the argument is first_step or last_epoch"):
        measures.find("gradient_ratio:middle")


def test_a_run_is_measured_again_only_for_other_measures(workdir, tmp_path_factory):
    (workdir / "log.txt").write_text("0:00 INFO device   cpu, 2 cores   (no GPU)\n")
    (workdir / "environment.txt").write_text("commit   0123abc\n")
    parent = tmp_path_factory.mktemp("experiment")
    (parent / "trial-00").symlink_to(workdir)
    sweep = manifest.open_or_make(parent / "new", [], [{"seed": 3}], {}, 1)
    sweep.workdir, sweep.trials[0].state = parent, "done"
    experiment = plan.read("degradation")
    found = record.new(experiment, "minutes", [])

    def numbers(*keys):
        changed = plan.Experiment(**{**vars(experiment), "measures": keys})
        record.update(found, changed, sweep, ["plain20"], Screen(quiet=True))
        assert record.load(parent) == found
        return found["runs"]["trial-00"]["numbers"]

    assert numbers("test_error") == {"test_error": 32.5}
    (workdir / "eval" / "results.json").write_text('{"test": {"top1_error": 1.0}}')
    assert numbers("test_error") == {"test_error": 32.5}
    assert numbers("test_error", "training_error")["training_error"] == 20
    run = found["runs"]["trial-00"]
    assert (run["seed"], run["device"], run["commit"]) == (3, "cpu, 2 cores", "0123abc")
