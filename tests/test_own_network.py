"""A network of a user's own, in a recipe outside the project."""

import shutil

import pytest

from cnn_arch import models, settings
from cnn_arch.errors import UsageError
from tests.commands import ROOT, call, error_line, run

RECIPE = """
import jax.numpy as jnp
from flax import linen as nn

from cnn_arch.models import register
from configs import base


class UsersNetwork(nn.Module):
    num_classes: int  # without a default
    dtype: type = jnp.float32

    @nn.compact
    def __call__(self, x, *, train):
        x = nn.relu(nn.Conv(8, (3, 3), strides=2, dtype=self.dtype, name="conv1")(x))
        x = x.mean(axis=(1, 2)).astype(jnp.float32)
        return nn.Dense(self.num_classes, name="fc")(x)


register("users_network", UsersNetwork)


def get_config(data="mnist5k"):
    config = base.get_config()
    config.model.name = "users_network"
    config.epochs = 0.2
    return base.use_data(config, data, in_memory=True)
"""
SWEEP = """
def get_sweep():
    return [{"optim.learning_rate": 0.2}]
"""


@pytest.fixture
def folder(tmp_path):
    """A folder of a user's, with the recipe and a sweep."""
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "recipe.py").write_text(RECIPE)
    (tmp_path / "my" / "sweep.py").write_text(SWEEP)
    return tmp_path


def called(program, *words, cwd):
    """Runs a command in this process, which forgets the network afterwards."""
    try:
        return call(program, *words, cwd=cwd)
    finally:
        models.MODELS.pop("users_network", None)


def shown(program, *words, cwd):
    result = (called if program in ("eval", "analyze") else run)(
        f"{program}.py", *words, cwd=cwd
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_every_command_takes_it(folder):
    recipe = "--config=my/recipe.py"
    text = shown("train", recipe, "--workdir=run", cwd=folder)
    assert "users_network: 170 parameters" in text  # 9 x 8 + 8, and 8 x 10 + 10
    assert f"eval.py --workdir=run {recipe} --split=validation" in text
    assert recipe in (folder / "run" / "README.md").read_text()
    text = shown("eval", "--workdir=run", recipe, "--export=own.npz", cwd=folder)
    assert f"Next:    python eval.py {recipe} --workdir=run" in text
    text = shown("analyze", recipe, cwd=folder)
    assert "conv1  conv             14x14x8      80  14,112" in text
    assert f"Next:    python analyze.py {recipe} --roofline" in text

    for words, message in {
        (): "users_network: no such network",
        (
            "--config=lenet5",
        ): "a recipe of lenet5, but the run in run is of users_network",
        (recipe, "--config.seed=1"): "--config.seed: the run in run keeps its own",
    }.items():
        result = called("eval.py", "--workdir=run", *words, cwd=folder)
        assert message in error_line(result)


@pytest.mark.slow
def test_a_sweep_takes_it(folder):
    recipe = "--config=my/recipe.py"
    words = recipe, "--sweep=my/sweep.py", "--workdir=sweep", "--executor=local"
    text = shown("sweep", *words, cwd=folder)
    assert text.count(" done ") >= 1
    assert f"{recipe} --split=validation" in text


def test_it_takes_no_name_of_the_project(tmp_path):
    recipe = tmp_path / "recipe.py"
    recipe.write_text(RECIPE.replace('register("users_network"', 'register("vgg16"'))
    with pytest.raises(UsageError, match="vgg16: the project has a network of this"):
        settings.parse([f"--config={recipe}"])
    assert models.MODELS["vgg16"] is not None


def test_a_recipe_of_the_project_is_not_an_own_one(tmp_path):
    assert settings.own_recipe(["--config=resnet20:cifar10"]) == []
    assert settings.own_recipe(["--config", "configs/resnet20.py"]) == []
    own = tmp_path / "mine.py"
    shutil.copy(ROOT / "configs" / "resnet20.py", own)
    words = ["--config.epochs=3", f"--config={own}:cifar10"]
    assert settings.own_recipe(words) == [f"--config={own}:cifar10"]
