"""Sweep files: grids, random draws, and files that are refused."""

import subprocess
import sys

import pytest

from cnn_arch.errors import UsageError
from cnn_arch.sweeps import space
from configs.sweeps.base import grid, log_uniform, random, uniform
from tests.commands import ROOT, environment

WORDS = ["--config=configs/lenet5.py", "--config.epochs=1"]


def write(tmp_path, body):
    path = tmp_path / "sweep.py"
    path.write_text(body)
    return str(path)


def listed(tmp_path, trials):
    return write(tmp_path, f"def get_sweep():\n    return {trials!r}\n")


def test_grid_is_every_combination():
    expected = [{"a": a, "b": b} for a in (1, 2) for b in "xyz"]
    assert grid({"a": [1, 2], "b": ["x", "y", "z"]}) == expected


def test_random_draws_cover_their_ranges_evenly():
    ranges = {"rate": log_uniform(1e-4, 1.0), "momentum": uniform(0.5, 0.9)}
    drawn = random({**ranges, "batch": [32, 64]}, 4000)
    # Each of the four decades has a quarter of the rates: 1,000, deviation 27.
    for decade in (1e-4, 1e-3, 1e-2, 1e-1):
        count = sum(decade <= each["rate"] < 10 * decade for each in drawn)
        assert 890 < count < 1110
    momenta = [each["momentum"] for each in drawn]
    assert 0.5 <= min(momenta) < 0.501 and 0.899 < max(momenta) <= 0.9
    assert sum(momenta) / 4000 == pytest.approx(0.7, abs=0.01)
    assert sum(each["batch"] == 32 for each in drawn) == pytest.approx(2000, abs=130)
    # Three significant digits, as in 0.0123.
    assert all(float(f"{each['rate']:.2e}") == each["rate"] for each in drawn)


def test_the_seed_decides_the_random_draws():
    ranges = {"rate": log_uniform(1e-4, 1.0)}
    assert random(ranges, 5, seed=1) == random(ranges, 5, seed=1)
    assert random(ranges, 5, seed=1) != random(ranges, 5, seed=2)
    assert random(ranges, 5, seed=1) == random(ranges, 9, seed=1)[:5]


def test_the_example_is_read():
    words = ["--config=configs/resnet20.py:cifar10"]
    trials = space.read_trials("configs/sweeps/lr_wd.py", words)
    assert len(trials) == 6
    assert {"optim.learning_rate": 0.1, "optim.weight_decay": 1e-4} in trials
    ranges = space.read_space("configs/sweeps/lr_wd.py", words)
    assert set(ranges) == {"optim.learning_rate", "optim.weight_decay"}


def test_the_sweep_of_the_short_recipe_is_read():
    sweep, words = "configs/sweeps/resnet20_fast.py", ["--config=resnet20_fast"]
    trials, ranges = space.read_trials(sweep, words), space.read_space(sweep, words)
    assert len(trials) == 2 * 3
    assert set(trials[0]) <= set(ranges)


def test_numpy_values_and_tuples_reach_the_command_line(tmp_path):
    body = (
        "import numpy as np\n"
        "def get_sweep():\n"
        "    return [{'optim.learning_rate': np.float64(0.25), 'seed': np.int64(3),\n"
        "             'optim.milestones': (0.5, 0.75), 'data.flip': True}]\n"
    )
    (trial,) = space.read_trials(write(tmp_path, body), WORDS)
    assert space.words_of(trial) == [
        "--config.optim.learning_rate=0.25",
        "--config.seed=3",
        "--config.optim.milestones=(0.5, 0.75)",
        "--config.data.flip=True",
    ]


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        ([], "get_sweep must return a list of trials"),
        ([{}], "trial 0: must be a dictionary"),
        ([{"seed": 1}, {"seed": 1}], "trial 1: equal to trial 0"),
        ([{"seed": 1}, {"seeed": 1}], r"trial 1: .*did you mean --config.seed \(now 0"),
        (
            [{"optim.momentum": 2.0}],
            "trial 0: .*number, at least 0 and below 1",
        ),
        ([{"seed": None}], "trial 0: seed=None: must be a number, a word or a list"),
        ([{"epochs": 2.0}], "--config.epochs: .*trial 0 sets it too; give it once"),
    ],
)
def test_trials_that_are_refused(trials, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        space.read_trials(listed(tmp_path, trials), WORDS)


@pytest.mark.parametrize(
    ("recipe", "trial", "message"),
    [
        ("resnet18", {"model.name": "vgg16"}, "trial 0: .*vgg16 has no such field"),
        ("vgg11", {"data.image_size": 16}, "trial 0: .*vgg11 needs at least 32 px"),
        ("alexnet", {"mesh.model": 3}, "trial 0: .*must divide the groups of alexnet"),
    ],
)
def test_networks_that_cannot_be_made_are_refused(recipe, trial, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        space.read_trials(listed(tmp_path, [trial]), [f"--config={recipe}"])


def test_checking_the_networks_opens_no_device():
    code = (
        "from cnn_arch.sweeps import space\n"
        "words = ['--config=configs/resnet20.py:cifar10']\n"
        "print(len(space.read_trials('configs/sweeps/lr_wd.py', words)))"
    )
    # With a platform that does not exist, opening a device is an error.
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**environment(), "JAX_PLATFORMS": "none"},
        capture_output=True,
        text=True,
    )
    assert ended.stdout == "6\n", ended.stderr


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def get_sweep(", r"not a sweep \(SyntaxError: "),
        ("import nosuchmodule", "not a sweep .*nosuchmodule"),
        ("TRIALS = []", "has no function get_sweep"),
        ("def get_sweep():\n    return 1 / 0", "get_sweep raised ZeroDivisionError"),
    ],
)
def test_files_that_are_refused(body, message, tmp_path):
    with pytest.raises(UsageError, match=message) as caught:
        space.read_trials(write(tmp_path, body), WORDS)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused():
    with pytest.raises(UsageError, match=r"did you mean configs/sweeps/lr_wd\.py\?"):
        space.read_trials("configs/sweeps/lr_vd.py", WORDS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"low": 0.0, "high": 1.0, "log": True}, "low must be above 0"),
        ({"low": 1.0, "high": 1.0, "log": False}, "low must be below high"),
        ({"low": "a", "high": 1.0, "log": False}, "'a': the end of a range must be a"),
        ({"low": 0.0, "high": 10**400, "log": False}, "the end of a range must be a"),
        ({"low": 0.0}, r"must be uniform\(low, high\) or log_uniform"),
        (0.5, "must be a list of choices, or a range"),
        ("0.5", "must be a list of choices, or a range"),
        (uniform(0.5, 1.5), "must be a number, at least 0 and below 1"),
        ([], "must be numbers or words"),
    ],
)
def test_spaces_that_are_refused(values, message, tmp_path):
    body = f"def get_space():\n    return {{'optim.momentum': {values!r}}}\n"
    with pytest.raises(UsageError, match=message):
        space.read_space(write(tmp_path, body), WORDS)


def test_a_range_has_ends_of_the_settings_type(tmp_path):
    ranges = {"batch_size": uniform(16.0, 64.0), "optim.weight_decay": uniform(0, 1)}
    path = write(tmp_path, f"def get_space():\n    return {ranges!r}\n")
    read = space.read_space(path, WORDS)
    ends = {key: (values["low"], values["high"]) for key, values in read.items()}
    assert repr(ends["batch_size"]) == "(16, 64)"
    assert repr(ends["optim.weight_decay"]) == "(0.0, 1.0)"
    ranges["batch_size"] = uniform(16, 20.5)
    path = write(tmp_path, f"def get_space():\n    return {ranges!r}\n")
    with pytest.raises(UsageError, match="batch_size: the ends must be whole numbers"):
        space.read_space(path, WORDS)


@pytest.mark.parametrize("make", [uniform, log_uniform])
def test_a_range_rises(make):
    with pytest.raises(ValueError, match="must be below high"):
        make(1.0, 1.0)


def test_settings_in_one_line():
    overrides = {"optim.learning_rate": 0.123456, "model.name": "vgg11"}
    assert space.describe(overrides) == "learning_rate=0.1235  name=vgg11"
    assert space.describe({"a.dir": 1, "b.dir": 2}) == "a.dir=1  b.dir=2"
