"""What is measured of a run's files: its errors, steps, costs and times."""

import json

import pytest

from cnn_arch import settings
from cnn_arch.data import boxes
from cnn_arch.evaluation import protocols
from cnn_arch.experiments import epochs, measures, record
from cnn_arch.experiments.rules import Bound


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


def test_an_ensembles_error_is_the_mean_over_all_choices(tmp_path, write_probabilities):
    """Pairs: .75 .35 .4; .6 .4 .75; .45 .65 .55: 2, 1 and 1 of 3 are wrong."""
    workdirs = [tmp_path / name for name in "abc"]
    for workdir, numbers in zip(
        workdirs, [(0.9, 0.1, 0.6), (0.6, 0.6, 0.2), (0.3, 0.7, 0.9)], strict=True
    ):
        (workdir / "eval").mkdir(parents=True)
        write_probabilities(workdir, numbers)
    errors = [measures.take(f"ensemble_error:{i}", workdirs) for i in (1, 2, 3)]
    assert errors == pytest.approx([100 / 3, 400 / 9, 100 / 3])


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
    maps = 32**2 + 6 * (28**2 + 14**2) + 16 * (10**2 + 5**2) + 120 + 84 + 10
    assert measures.take("memory", workdir) == pytest.approx(4 * maps / 1e6)


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
        text = f"test_error_by:{name}"
        assert measures.places([text]) == {text: number}


def test_layers_stand_side_by_side_in_the_files_order():
    taken = [f"probe_error:{layer}" for layer in ("pixels", "pool3", "fc7")]
    assert [*measures.places(taken).values()] == [0, 1, 2]
    assert [*map(measures.tick, taken)] == ["pixels", "pool3", "fc7"]
    assert measures.tick("test_error_by:googlenet_144") == "144"


def test_a_measure_has_the_arguments_that_there_are():
    with pytest.raises(KeyError, match="the argument is first_step or last_epoch"):
        measures.find("gradient_ratio:middle")


def test_a_run_that_diverged_guesses_to_its_planned_end(diverged):
    curve = [[1, 60, 55], [2, 90, 90], [3, 90, 90], [3.5, 90, 90]]
    assert epochs.curve(diverged) == curve
    assert measures.take("training_error", diverged) == 90
    assert measures.take("test_error", diverged) == 90
    assert measures.take("steps_to_training_error:60", diverged) == 100
    assert measures.take("steps_to_training_error:25", diverged) == Bound(350)
    assert epochs.minutes(diverged) == 0.5


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
