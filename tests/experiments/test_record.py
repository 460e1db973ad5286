"""How the measures of an experiment's runs are written, and read again."""

import pytest

from cnn_arch.errors import UsageError
from cnn_arch.experiments import page, plan, record
from cnn_arch.experiments.rules import Bound
from cnn_arch.screen import Screen
from cnn_arch.sweeps import manifest


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


@pytest.fixture
def make_sweep(workdir, tmp_path_factory):
    """A sweep of runs that have ended, with seeds 0, 1 and so on."""
    (workdir / "log.txt").write_text("0:00 INFO device   cpu, 2 cores   (no GPU)\n")
    (workdir / "environment.txt").write_text("commit   0123abc\n")
    parent = tmp_path_factory.mktemp("experiment")

    def make(seeds):
        trials = [{"config": "lenet5:cifar10", "seed": seed} for seed in seeds]
        sweep = manifest.open_or_make(parent / "new", [], trials, {}, len(trials))
        sweep.workdir = parent
        for trial in sweep.trials:
            sweep.path(trial).symlink_to(workdir)
            trial.state = "done"
        return sweep

    return make


def test_runs_without_measures_of_their_own_are_in_the_record(
    make_sweep, workdir, write_probabilities
):
    write_probabilities(workdir, (0.9, 0.1, 0.6))
    experiment, sweep = plan.read("ensemble"), make_sweep(range(7))
    found = record.new(experiment, "full", [])
    record.update(found, experiment, sweep, ["cuda_convnet"] * 7, Screen(quiet=True))
    assert len(found["runs"]) == 7 and record.minutes(found) == 14
    assert list(record.numbers(found)["cuda_convnet"]) == list(experiment.measures)


def test_seeds_are_measured_in_whole_groups(make_sweep, workdir, write_probabilities):
    write_probabilities(workdir, (0.9, 0.1, 0.6))
    sweep = make_sweep(range(6))
    sweep.trials[3].state = "failed"  # of the second group
    experiment = plan.read("ensemble")
    keys = ("ensemble_error:1", "ensemble_error:2", "test_error")
    experiment = plan.Experiment(**vars(experiment) | {"measures": keys, "group": 2})
    found = record.new(experiment, "minutes", [])
    record.update(found, experiment, sweep, ["net"] * 6, Screen(quiet=True))
    assert list(found["groups"]) == ["trial-00 to trial-01", "trial-04 to trial-05"]
    third = pytest.approx(100 / 3)
    assert record.numbers(found) == {
        "net": {
            "test_error": [32.5] * 5,
            "ensemble_error:1": [third, third],
            "ensemble_error:2": [third, third],
        }
    }


def test_a_run_is_measured_again_only_for_other_measures(make_sweep, workdir):
    sweep = make_sweep([3])
    experiment = plan.read("degradation")
    found = record.new(experiment, "minutes", [])

    def numbers(*keys):
        changed = plan.Experiment(**{**vars(experiment), "measures": keys})
        record.update(found, changed, sweep, ["plain20"], Screen(quiet=True))
        assert record.load(sweep.workdir) == found
        return found["runs"]["trial-00"]["numbers"]

    assert numbers("test_error") == {"test_error": 32.5}
    (workdir / "eval" / "results.json").write_text('{"test": {"top1_error": 1.0}}')
    assert numbers("test_error") == {"test_error": 32.5}
    assert numbers("test_error", "training_error")["training_error"] == 20
    run = found["runs"]["trial-00"]
    assert (run["seed"], run["device"], run["commit"]) == (3, "cpu, 2 cores", "0123abc")


def test_a_run_that_diverged_is_in_the_verdict_and_on_the_page(diverged):
    (diverged / "log.txt").write_text("0:00 INFO device   cpu, 2 cores   (no GPU)\n")
    (diverged / "environment.txt").write_text("commit   0123abc\n")
    trials = [{"config": "cuda_convnet:folder", "optim.learning_rate": 9, "seed": 3}]
    sweep = manifest.open_or_make(diverged.parent / "new", [], trials, {}, 1)
    sweep.workdir, sweep.trials[0].state = diverged.parent, "diverged"
    sweep.trials[0].name = diverged.name
    experiment = plan.read("overlapping")
    found = record.new(experiment, "minutes", [])
    variant, other = experiment.variants
    record.update(found, experiment, sweep, [variant], Screen(quiet=True))
    (run,) = found["runs"].values()
    assert run["numbers"] == {"test_error": 90, "training_error": 90}  # and no gap
    found["runs"]["other"] = {**run, "variant": other, "diverged": ""}
    text = page.section(experiment, found, "figure.png", level="#")
    assert f"| {variant} | 90 | 90 | unavailable | 1, 1 run diverged |" in text
    assert f"({variant}, seed 3), loss is nan at step 130. The error" in text
    assert f"| {other} | 90 | 90 | unavailable | 1 |" in text
    # The settings are those of the runs, whatever the experiment's file says now.
    assert "all: `--config=cuda_convnet --config.optim.learning_rate=9`." in text
    del found["variants"]
    text = page.section(experiment, found, "figure.png", level="#")
    assert "The settings are not in this old record" in text
