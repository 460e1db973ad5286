"""What is measured of a run's files, and how it is written."""

import json

import numpy as np
import pytest

from cnn_arch import settings
from cnn_arch.data import boxes
from cnn_arch.errors import UsageError
from cnn_arch.evaluation import protocols
from cnn_arch.evaluation.prediction import Prediction
from cnn_arch.experiments import epochs, measures, page, plan, record, rules
from cnn_arch.experiments.rules import Bound
from cnn_arch.screen import Screen
from cnn_arch.sweeps import manifest

HEAD = "epoch,step,train_top1_error,validation_top1_error,seconds\n"
ROWS = "1,100,60,55,30\n2,200,40,45,30\n3,300,20,30,60\n"


@pytest.fixture
def diverged(workdir):
    """The loss is not finite in the second of three epochs and a half."""
    (workdir / "metrics.csv").write_text(HEAD + ROWS.partition("2,")[0])
    config, _ = settings.parse(["--config=lenet5", "--config.epochs=3.5"])
    (workdir / "config.json").write_text(settings.to_json(config))
    (workdir / "classes.json").write_text(json.dumps([str(i) for i in range(10)]))
    found = {"reason": "loss is nan at step 130: must", "steps_per_epoch": 100}
    (workdir / "diverged.json").write_text(json.dumps(found))
    return workdir


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
    assert epochs.minutes(workdir) == 2
    assert epochs.curve(workdir) == [[1, 60, 55], [2, 40, 45], [3, 20, 30]]


def test_the_first_loss_is_that_of_the_first_step(workdir):
    (workdir / "steps.csv").write_text("step,loss\n1,2.5\n2,2.25\n")
    assert measures.take("first_loss", workdir) == 2.5


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


def write_probabilities(workdir, of_first_class):
    """Three images of the first of two classes, and their probabilities."""
    probability = np.array([[p, 1 - p] for p in of_first_class], np.float32)
    prediction = Prediction(
        images=("a", "b", "c"),
        index=np.arange(3),
        label=np.zeros(3, np.int32),
        log_probability=np.log(probability),
        class_names=("yes", "no"),
        facts={},
    )
    prediction.write(workdir / "eval" / "probabilities_test.npz")


def test_an_ensembles_error_is_the_mean_over_all_choices(tmp_path):
    """Pairs: .75 .35 .4; .6 .4 .75; .45 .65 .55: 2, 1 and 1 of 3 are wrong."""
    workdirs = [tmp_path / name for name in "abc"]
    for workdir, numbers in zip(
        workdirs, [(0.9, 0.1, 0.6), (0.6, 0.6, 0.2), (0.3, 0.7, 0.9)], strict=True
    ):
        (workdir / "eval").mkdir(parents=True)
        write_probabilities(workdir, numbers)
    errors = [measures.take(f"ensemble_error:{i}", workdirs) for i in (1, 2, 3)]
    assert errors == pytest.approx([100 / 3, 400 / 9, 100 / 3])


def test_an_outcome_is_one_line():
    rule = rules.Comparison("difference", "test_error", "a", "b", -1.0, 1.0)
    found = {"a": {"test_error": [10.0, 10.2]}, "b": {"test_error": [10.1, 10.1]}}
    line = page.describe(rule, rules.compare(rule, found))
    start = "test error: a - b is above -1 and below 1: not decided at this size"
    assert line.startswith(f"{start} (0, -1.271 to 1.271)")


def test_an_outcome_of_pairs_names_both_measures():
    limits = {"above": None, "below": 0.0, "second_measure": "training_error"}
    rule = rules.Comparison("difference", "test_error", "a", "a", **limits)
    found = {"a": {"test_error": [10.0], "training_error": [12.0]}}
    line = page.describe(rule, rules.compare(rule, found))
    start = "a: test error - training error, last epoch is below 0: not decided at this"
    assert line == f"{start} size (-2; no interval)"


def test_an_outcome_of_one_seed_has_no_interval():
    rule = rules.Comparison("ratio", "test_error", "a", "b", None, 1.0)
    found = {"a": {"test_error": [10.0]}, "b": {"test_error": [20.0]}}
    line = page.describe(rule, rules.compare(rule, found))
    assert line.endswith("is below 1: not decided at this size (0.5; no interval)")


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ([Bound(40.0), Bound(40.0)], [9.0, 11.0], "over 4.02, at least 1.12"),
        ([9.0, 11.0], [Bound(40.0), 39.0], "under 0.2519, at most "),
        ([9.0], [Bound(40.0)], "under 0.225; no interval"),
        ([Bound(40.0)], [9.0], "over 4.444; no interval"),
        ([Bound(40.0)], [Bound(50.0)], "neither has reached it"),
    ],
)
def test_a_goal_that_was_not_reached_gives_a_limit(first, second, shown):
    steps = "steps_to_training_error:25"
    rule = rules.Comparison("ratio", steps, "a", "b", 2.0, None)
    found = {"a": {steps: first}, "b": {steps: second}}
    assert f"({shown}" in page.describe(rule, rules.compare(rule, found))


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


def test_an_error_by_a_protocol_is_that_of_its_entry(workdir):
    entries = {"test": {"top1_error": 32.5}, "test_ten_crop": {"top1_error": 30.0}}
    (workdir / "eval" / "results.json").write_text(json.dumps(entries))
    assert measures.take("test_error_by:one_crop", workdir) == 32.5
    assert measures.take("test_error_by:ten_crop", workdir) == 30


def test_a_protocol_shows_as_many_crops_as_the_figure_says():
    data = settings.parse(["--config=cuda_convnet:cifar10"])[0].data
    for name, number in measures.CROPS.items():
        scales = protocols.of_name(name, data).scales
        assert boxes.Crops(name, scales, data.image_size, True).number == number
        assert measures.place(f"test_error_by:{name}") == number


def test_a_measure_has_the_arguments_that_there_are():
    with pytest.raises(KeyError, match="the argument is first_step or last_epoch"):
        measures.find("gradient_ratio:middle")


@pytest.fixture
def make_sweep(workdir, tmp_path_factory):
    """A sweep of runs that have ended, with seeds 0, 1 and so on."""
    (workdir / "log.txt").write_text("0:00 INFO device   cpu, 2 cores   (no GPU)\n")
    (workdir / "environment.txt").write_text("commit   0123abc\n")
    parent = tmp_path_factory.mktemp("experiment")

    def make(seeds):
        trials = [{"seed": seed} for seed in seeds]
        sweep = manifest.open_or_make(parent / "new", [], trials, {}, len(trials))
        sweep.workdir = parent
        for trial in sweep.trials:
            sweep.path(trial).symlink_to(workdir)
            trial.state = "done"
        return sweep

    return make


def test_runs_without_measures_of_their_own_are_in_the_record(make_sweep, workdir):
    write_probabilities(workdir, (0.9, 0.1, 0.6))
    experiment, sweep = plan.read("ensemble"), make_sweep(range(7))
    found = record.new(experiment, "full", [])
    record.update(found, experiment, sweep, ["cuda_convnet"] * 7, Screen(quiet=True))
    assert len(found["runs"]) == 7 and record.minutes(found) == 14
    assert list(record.numbers(found)["cuda_convnet"]) == list(experiment.measures)


def test_seeds_are_measured_in_whole_groups(make_sweep, workdir):
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


def test_a_run_that_diverged_guesses_to_its_planned_end(diverged):
    curve = [[1, 60, 55], [2, 90, 90], [3, 90, 90], [3.5, 90, 90]]
    assert epochs.curve(diverged) == curve
    assert measures.take("training_error", diverged) == 90
    assert measures.take("test_error", diverged) == 90
    assert measures.take("steps_to_training_error:60", diverged) == 100
    assert measures.take("steps_to_training_error:25", diverged) == Bound(350)
    assert epochs.minutes(diverged) == 0.5


def test_a_run_that_diverged_is_in_the_verdict_and_on_the_page(diverged):
    (diverged / "log.txt").write_text("0:00 INFO device   cpu, 2 cores   (no GPU)\n")
    (diverged / "environment.txt").write_text("commit   0123abc\n")
    sweep = manifest.open_or_make(diverged.parent / "new", [], [{"seed": 3}], {}, 1)
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


@pytest.fixture
def times(tmp_path):
    """A folder of analyze.py --measure, on a machine that does not say its energy."""
    speed = {"milliseconds": 20.0, "images_per_second": 50.0, "joules": None}
    found = {
        "network": "resnet18",
        "totals": {"params": 11_689_512, "macs": 1_814_073_344},
        "batches": {"4": speed | {"watts": None}},
        "seconds": 90.0,
    }
    (tmp_path / "times.json").write_text(json.dumps(found))
    return tmp_path


def test_times_are_those_of_the_folder_and_energy_may_be_unavailable(times):
    assert measures.take("milliseconds:4", times) == 20
    assert measures.take("images_per_second:4", times) == 50
    assert measures.take("milliseconds:64", times) is None  # not in this size
    assert measures.take("joules:4", times) is None
    assert measures.take("parameters", times) == 11_689_512
    # torchvision's accuracy is 69.758 %.
    assert measures.take("published_error", times) == pytest.approx(30.242)
    assert epochs.minutes(times) == 1.5
    assert epochs.curve(times) == []
    run = {"variant": "a", "numbers": {"joules:4": None, "milliseconds:4": 20.0}}
    assert record.numbers({"runs": {"x": run}}) == {"a": {"milliseconds:4": [20]}}
