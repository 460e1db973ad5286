"""The files of the experiments: each is read, and mistakes are named."""

import subprocess
import sys

import pytest

from cnn_arch import installation, settings
from cnn_arch.errors import UsageError
from cnn_arch.experiments import figures, plan
from cnn_arch.experiments.measures import MEASURES, SERIES
from cnn_arch.models import MODELS
from cnn_arch.sweeps import space
from tests.commands import ROOT, environment

SLOW = pytest.mark.slow

FILE = """
def get_experiment():
    small = {{"seeds": 2, "settings": {{"epochs": 0.1}}, "measures": {taken}}}
    return {{
        "claim": "Tanh is slower.",
        "sources": ["a lecture"],
        "data": "mnist5k",
        "variants": {{"a": {{}}, "b": {{"optim.learning_rate": 0.01}}}},
        "settings": {{"config": "lenet5"}},
        "sizes": {{"minutes": small, "full": small | {{"seeds": 3}}}},
        "measures": ["{measure}"],
        "group": {group},
        "rule": [{{
            "scale": "difference", "measure": "test_error", "first": "b",
            "second": "{second}", "above": 0, "below": None,
        }}],
        "figure": "{figure}",
        "drawn": {drawn},
        "caveats": "None.",
    }}
"""


@pytest.fixture
def file(tmp_path):
    def write(
        measure="test_error", second="a", group=0, figure="dots", taken=(), drawn=()
    ):
        path, words = tmp_path / "tried.py", locals()
        path.write_text('"""Tried."""\n' + FILE.format(**words))
        return str(path)

    return write


def is_slow(name, size):
    has_large_networks = name == "time_and_energy" and size == "full"
    return has_large_networks or (size == "minutes" and name != "time_and_energy")


@pytest.mark.parametrize(
    ("name", "size"),
    [
        pytest.param(name, size, marks=[SLOW] * is_slow(name, size))
        for name in installation.experiments()
        for size in ("full", "minutes")
    ],
)
def test_the_projects_experiments_can_run(name, size):
    experiment = plan.read(name)
    assert experiment.claim and experiment.sources
    assert set(experiment.sizes) == {"full", "minutes"}
    data = "folder" if experiment.data == "photographs" else experiment.data
    variants, trials = plan.check(experiment, size, data, [])
    assert len(trials) == experiment.sizes[size].seeds * len(set(variants))
    assert set(variants) <= set(experiment.variants)
    if size == "full":
        compared = {each.first for each in experiment.rule}
        assert compared | {each.second for each in experiment.rule} <= set(variants)


def test_the_trials_are_those_of_each_seed(file):
    variants, trials = plan.check(plan.read(file()), "minutes", "mnist5k", [])
    assert variants == ["a", "b", "a", "b"]
    assert [trial["seed"] for trial in trials] == [0, 0, 1, 1]
    config, _ = settings.parse(space.words_of(trials[3]))
    assert config.model.name == "lenet5" and config.data.source == "mnist5k"
    assert (config.epochs, config.seed, config.optim.learning_rate) == (0.1, 1, 0.01)


def test_given_settings_replace_those_of_the_experiment(file):
    words = ["--config.epochs=2"]
    _, trials = plan.check(plan.read(file()), "minutes", "mnist5k", words)
    assert all("epochs" not in trial for trial in trials)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--config.optim.learning_rate=1", "b of tried has its own; leave it out"),
        ("--config.epoch=1", "no such setting; did you mean --config.epochs"),
        ("--config.seed=1", "an experiment has its seeds; leave it out"),
    ],
)
def test_settings_that_do_not_suit_are_refused(file, word, message):
    with pytest.raises(UsageError, match=message):
        plan.check(plan.read(file()), "minutes", "mnist5k", [word])


def test_mistakes_in_a_file_are_named(file, tmp_path):
    with pytest.raises(UsageError, match="not an experiment"):
        plan.read(file(measure="speed"))
    with pytest.raises(UsageError, match="compares c, which is no variant"):
        plan.read(file(second="c"))
    with pytest.raises(UsageError, match="compares test_error, which is no measure"):
        plan.read(file(measure="training_error"))
    empty = tmp_path / "empty.py"
    empty.write_text("")
    with pytest.raises(UsageError, match="has no function get_experiment"):
        plan.read(str(empty))
    with pytest.raises(UsageError, match="did you mean degradation"):
        plan.read("degredation")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"taken": ["test_eror"]}, "a size has test_eror, which is no measure"),
        ({"figure": "dot"}, "not one of against, curves, dots, layers"),
        ({"figure": "against"}, "needs a measure that has an axis"),
        ({"figure": "layers"}, "needs a series"),
        ({"drawn": ["c"]}, "the figure has c, which is no variant"),
        ({"group": 2}, "a joint measure needs the group"),
        ({"measure": "ensemble_error:1"}, "a joint measure needs the group"),
        ({"measure": "ensemble_error:1", "group": 2}, "full: the seeds are not in gr"),
        ({"measure": "ensemble_error:2", "group": 1}, "is not of 1 to 1 networks"),
        ({"measure": "ensemble_error:all", "group": 1}, "not an experiment"),
    ],
)
def test_what_cannot_be_measured_or_drawn_is_named(file, changes, message):
    with pytest.raises(UsageError, match=message):
        plan.read(file(**changes))


def test_all_figures_are_known():
    assert tuple(figures.FIGURES) == plan.FIGURES


def test_measures_have_a_label():
    assert all(each.label for each in (*MEASURES.values(), *SERIES.values()))


def test_an_experiment_without_data_measures_times():
    experiment = plan.read("time_and_energy")
    variants, trials = plan.check(experiment, "minutes", "", [])
    assert variants[:4] == variants[4:] and trials[0]["config"] == "alexnet"
    assert experiment.program == ["analyze.py", "--measure"]
    assert plan.read("relu").program == ["train.py"]


def test_the_times_are_those_of_all_networks_of_papers():
    own = {"inception_cifar", "kernel_stacks"}  # no paper's
    assert {*plan.read("time_and_energy").variants} == {*MODELS} - own


def test_the_list_of_experiments_draws_nothing_and_reads_no_images():
    """Else analyze.py --claims takes a second longer."""
    code = "import sys; from cnn_arch.experiments import record, show; "
    code += "print({'matplotlib', 'cv2'} & {*sys.modules})"
    words = [sys.executable, "-c", code]
    answer = subprocess.run(words, cwd=installation.ROOT, capture_output=True)
    assert answer.stdout.strip() == b"set()"


def test_checking_the_data_opens_no_device(photos):
    """Else its flags come too late, and it takes the memory of the trials' GPUs."""
    code = (
        "from cnn_arch.experiments import plan\n"
        "plan.check_data({'config': 'lenet5:folder'}, ['--config.data.dir=%s'])\n"
        "print('checked')"
    )
    # With a platform that does not exist, opening a device is an error.
    ended = subprocess.run(
        [sys.executable, "-c", code % photos],
        cwd=ROOT,
        env={**environment(), "JAX_PLATFORMS": "none"},
        capture_output=True,
        text=True,
    )
    assert ended.stdout.endswith("checked\n"), ended.stderr
