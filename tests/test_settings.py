"""The command line and the recipes: what is taken, and each mistake's one line."""

import importlib
from pathlib import Path

import pytest

from cnn_arch import settings
from cnn_arch.errors import UsageError
from cnn_arch.models import create_model
from configs import base

RECIPES = sorted(
    path.stem
    for path in Path("configs").glob("*.py")
    if path.stem not in ("__init__", "base")
)


@pytest.mark.parametrize("data", base.DATA)
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_takes_every_data_set(recipe, data):
    config, changed = settings.parse([f"--config=configs/{recipe}.py:{data}"])
    assert config.is_locked
    assert changed == {}
    assert config.model.name == recipe
    assert set(settings.flatten(base.get_config())) <= set(settings.flatten(config))
    create_model(config.model.name, 10, **config.model.fields)
    if data == "fashion_mnist" and recipe == "resnet34":
        assert config.data.image_size == 96
        assert config.data.channels == 1


def test_default_data_is_the_papers():
    names = {
        recipe: importlib.import_module(f"configs.{recipe}").get_config().data.name
        for recipe in RECIPES
    }
    assert names == {
        "lenet5": "mnist5k",
        "resnet20": "cifar10",
        "resnet34": "imagenet2012",
    }


def test_settings_change_what_they_name():
    config, changed = settings.parse(
        [
            "--config.seed=7",
            "--config",
            "configs/resnet20.py:folder",
            "--config.optim.milestones=(1,2)",
            "--config.data.dir",
            "photos",
            "--config.data.skip_broken",
        ]
    )
    assert config.optim.milestones == (1.0, 2.0)
    assert changed == {
        "seed": 7,
        "optim.milestones": [1, 2],
        "data.dir": "photos",
        "data.skip_broken": True,
    }


L = "--config=configs/lenet5.py"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            [L, "--config.batchsize=64"],
            "--config.batchsize=64: configs/lenet5.py has no such setting; did you "
            "mean --config.batch_size (now 64)?",
        ),
        (
            [L, "--config.num_threads=2"],
            "--config.num_threads=2: configs/lenet5.py has no such setting; did you "
            "mean --config.data.num_threads (now 0)?",
        ),
        (
            [L, "batch_size=64"],
            "'batch_size=64': settings need the prefix; write --config.batch_size=64",
        ),
        (
            [L, "--config.label_smoothing=10"],
            "--config.label_smoothing=10.0: must be at least 0 and below 1",
        ),
        (
            [L, "--config.batch_size=many"],
            "--config.batch_size=many: must be of type int",
        ),
        ([L, "--config.seed=1.5"], "--config.seed=1.5: must be of type int"),
        ([L, "--config.data=x"], "--config.data=x: a group of settings; set one, as "
         "in --config.data.KEY"),
        (
            [L, "--config.precision=float16"],
            "--config.precision=float16: must be one of float32, bfloat16",
        ),
        (
            ["--config=configs/resnet43.py"],
            "--config=configs/resnet43.py: no such file; did you mean "
            "configs/resnet34.py?",
        ),
        (
            ["--config=configs/lenet5.py:cifar"],
            "--config=configs/lenet5.py:cifar: :cifar: no such data set; there are "
            "mnist5k, fashion_mnist, cifar10, imagenet2012, folder",
        ),
        (["--workdri=x", L], "--workdri: no such option; see --help"),
        ([], "--config: must be given once; see --help"),
        (
            ["--config=configs/resnet20.py:mnist5k", "--config.data.channels=3"],
            "--config.data.mean=[33.3]: must have a value for each of the 3 channels",
        ),
    ],
)  # fmt: skip
def test_each_mistake_in_its_one_line(words, line):
    with pytest.raises(UsageError) as error:
        settings.parse(words)
    assert str(error.value) == line


def test_a_stored_config_is_the_config(tmp_path):
    config, _ = settings.parse(["--config=configs/resnet34.py"])
    path = tmp_path / "config.json"
    path.write_text(settings.to_json(config))
    assert settings.flatten(settings.from_json(path)) == settings.flatten(config)
    path.write_text("{}")
    with pytest.raises(UsageError, match="not the config of a run"):
        settings.from_json(path)
