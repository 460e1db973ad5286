"""What may change when a run continues in a directory, and what it must keep."""

import json

import pytest

from cnn_arch import choices, cli, run_directory, same_run, setting_rules, settings
from cnn_arch.errors import UsageError
from cnn_arch.screen import Screen

STEP = "--config=configs/resnet50_v1_5.py:folder"


def parse(*words, recipe="--config=configs/lenet5.py:folder"):
    return settings.parse([recipe, *words], trains=True)


@pytest.fixture
def go_on(tmp_path, capsys):
    """Returns a function that gives the lines of a start with other words."""

    def start(before, after, recipe="--config=configs/lenet5.py:folder"):
        config, _ = parse(*before, recipe=recipe)
        run_directory.create(tmp_path, config, ["0", "1"], [])
        (tmp_path / "checkpoints" / "3").mkdir(parents=True, exist_ok=True)
        config, given = parse(*after, recipe=recipe)
        same_run.match_run(tmp_path, config, given, Screen())
        return capsys.readouterr().out.splitlines()

    return start


def test_settings_that_do_not_change_the_training_may_change_and_are_said(go_on):
    before = "--config.data.dir=photos", "--config.data.skip_broken=true"
    after = "--config.data.dir=/scratch/photos", "--config.data.num_threads=3"
    assert go_on(before, after) == [
        "changed  data.dir=/scratch/photos, before photos",
        "changed  data.num_threads=3, before 0",
        "changed  data.skip_broken=False, before True",
    ]
    assert go_on(before, before) == []


def test_more_epochs_where_the_rate_does_not_depend_on_them(go_on):
    for schedule in ("constant", "plateau"):
        word = f"--config.optim.schedule={schedule}"
        assert go_on([word], [word, "--config.epochs=99"])
    reason = "epochs=.* and the rate of optim.schedule=cosine depends on them; choose"
    with pytest.raises(UsageError, match=reason):
        go_on([], ["--config.epochs=99"])


def test_more_epochs_keep_the_milestones_of_the_run(go_on):
    said = go_on([], ["--config.epochs=60"], recipe=STEP)
    assert "with optim.milestones=[10.0, 20.0]" in said[0]
    assert said[1:] == ["changed  epochs=60.0, before 30.0"]


def test_a_run_keeps_its_precision(go_on):
    """Also on another machine, whose processor would suggest another one."""
    word = "--config.precision={}".format
    said = go_on([word("bfloat16")], [], recipe=STEP)
    assert said == ["         with precision=bfloat16, as the run began"]
    assert go_on([word("bfloat16")], [word("auto")], recipe=STEP) == said
    with pytest.raises(UsageError, match="precision=bfloat16, this one has float32"):
        go_on([word("bfloat16")], [word("float32")], recipe=STEP)


def test_a_run_keeps_the_class_weights_that_it_counted(go_on):
    weigh = "--config.class_weights={}".format
    said = go_on([weigh("0.5,2")], [weigh("inverse")])
    assert said == ["         with class_weights, as the run began"]
    with pytest.raises(UsageError, match="class_weights=none, this one has inverse"):
        go_on([], [weigh("inverse")])


def test_a_run_keeps_the_numbers_that_it_counted(tmp_path, capsys):
    """Also one of an earlier version, which had ImageNet's instead."""
    recipe = "--config=tests/training/by_epochs.py:folder"
    counting, given = parse("--config.data.mean=()", recipe=recipe)
    assert counting.data.mean == counting.data.std == ()
    numbers = {"data.mean": (9.5, 8.0, 7.0), "data.std": (3.0, 2.0, 1.5)}
    begun = settings.derive(counting, numbers)
    run_directory.create(tmp_path, begun, ["0", "1"], [])
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    kept = same_run.match_run(tmp_path, counting, given, Screen())
    assert kept == begun
    assert "with data.mean, data.std, as the run began" in capsys.readouterr().out
    other, given = parse("--config.data.mean=1,2,3", recipe=recipe)
    with pytest.raises(UsageError, match=r"data\.mean=\[9\.5, 8\.0, 7\.0\], this one"):
        same_run.match_run(tmp_path, other, given, Screen())


def test_a_run_of_an_earlier_version_names_each_setting_once(tmp_path, capsys):
    recipe = "--config=tests/training/by_epochs.py:folder"
    counting, given = parse("--config.data.mean=()", recipe=recipe)
    stored = json.loads(settings.to_json(counting))
    stored["data"] |= {"mean": [9.5, 8.0, 7.0], "std": [3.0, 2.0, 1.5]}
    del stored["early_stopping"]  # a setting that it did not have
    (tmp_path / "config.json").write_text(json.dumps(stored))
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    kept = same_run.match_run(tmp_path, counting, given, Screen())
    assert kept.data.mean == (9.5, 8.0, 7.0)
    assert "   with data.mean, data.std, as the run began" in capsys.readouterr().out


def test_the_length_keeps_its_unit(go_on):
    in_steps = "--config.steps=900", "--config.optim.milestones=(300,600)"
    assert go_on(in_steps, ["--config.steps=990"], recipe=STEP) == [
        "         with optim.milestones=[300, 600], as the run began",
        "changed  steps=990, before 900",
    ]
    said = go_on(in_steps, ["--config.epochs=60"], recipe=STEP)
    assert "with steps=900, optim.milestones=[300, 600]" in said[0]
    with pytest.raises(UsageError, match="steps=0, this one has 900"):
        go_on([], ["--config.steps=900"], recipe=STEP)


def test_the_home_is_found_after_an_equals_sign(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for word, expected in (
        ("--workdir=~/runs/a", "--workdir=/home/me/runs/a"),
        ("--config.data.dir=~", "--config.data.dir=/home/me"),
        ("~/photos", "/home/me/photos"),
        ("--config.data.dir=a~b", "--config.data.dir=a~b"),
        ("--quiet", "--quiet"),
    ):
        assert cli._expand_home(word) == expected


# What config.json of the first runs has.
OF_THE_FIRST_RUNS = """
    seed batch_size epochs label_smoothing aux_weight precision scan_blocks remat
    batch_norm_statistics model.name optim.learning_rate optim.schedule optim.milestones
    optim.factor optim.warmup_epochs optim.momentum optim.weight_decay optim.decay
    data.source data.name data.dir data.image_size data.channels data.num_classes
    data.test_split data.validation_fraction data.in_memory data.fit data.train_crop
    data.crop_padding data.min_area data.scale_min data.scale_max data.flip
    data.eval_resize data.mean data.std data.skip_broken data.num_threads mesh.data
    mesh.model checkpoint.every_minutes
"""


def test_every_later_setting_has_the_value_of_earlier_runs():
    """Without it in ``choices.EARLIER``, no earlier run can be evaluated."""
    later = setting_rules.RULES.keys() - set(OF_THE_FIRST_RUNS.split())
    assert later == choices.EARLIER.keys()


def test_a_run_of_an_earlier_version_keeps_the_settings_of_its_recipe(tmp_path, capsys):
    """ResNet-20 had its length in epochs, and the other form of momentum."""
    config, given = parse(recipe="--config=resnet20:mnist5k")
    stored = json.loads(settings.to_json(config))
    for key in choices.EARLIER:
        group, _, name = key.rpartition(".")
        (stored[group] if group else stored).pop(name)
    stored["optim"]["milestones"] = [15.0, 22.6]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    kept = same_run.match_run(tmp_path, config, given, Screen())
    assert (config.optim.momentum_form, kept.optim.momentum_form) == (
        "caffe",
        "pytorch",
    )
    assert kept.optim.milestones == (15.0, 22.6)
    assert "optim.momentum_form=pytorch" in capsys.readouterr().out
    words = "--config.optim.momentum=0.5"
    other, given = parse(words, recipe="--config=resnet20:mnist5k")
    with pytest.raises(UsageError, match=r"optim.momentum=0.9, this one has 0.5"):
        same_run.match_run(tmp_path, other, given, Screen())


@pytest.mark.parametrize(
    ("name", "field", "new"),
    [
        ("resnet34:folder", "ceil_mode", True),
        ("resnet20:cifar10", "batch_norm", False),
        ("alexnet:folder", "local_response_norm", False),
        ("alexnet", "initial_bias", 0.5),
        ("vgg11_lrn", "initialisation", "glorot"),
        ("cuda_convnet:mnist5k", "pool_window", 2),
    ],
)
def test_a_run_continues_where_its_network_has_a_new_field(tmp_path, name, field, new):
    config, given = parse(recipe=f"--config={name}")
    stored = json.loads(settings.to_json(config))
    old = stored["model"]["fields"][field]
    for key in choices.EARLIER_FIELDS:
        stored["model"]["fields"].pop(key.rpartition(".")[2], None)
    (tmp_path / "config.json").write_text(json.dumps(stored))
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    assert same_run.match_run(tmp_path, config, given, Screen()) == config
    word = f"--config.model.fields.{field}={new}".lower()
    other, given = parse(word, recipe=f"--config={name}")
    with pytest.raises(UsageError, match=rf"fields.{field}={old}, this one has {new}"):
        same_run.match_run(tmp_path, other, given, Screen())


@pytest.mark.parametrize("name", ["alexnet:folder", "vgg11:folder"])
def test_a_run_that_began_with_other_values_continues(tmp_path, name):
    """Recipes for a folder had the papers' initial values before."""
    config, given = parse(recipe=f"--config={name}")
    stored = json.loads(settings.to_json(config))
    (field,) = {"initial_bias", "initialisation"} & stored["model"]["fields"].keys()
    del stored["model"]["fields"][field]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    kept = same_run.match_run(tmp_path, config, given, Screen()).model.fields[field]
    assert kept == {"initial_bias": 1.0, "initialisation": "normal"}[field]
    assert kept != config.model.fields[field]
