"""Every recipe with every data set: network, image size and the papers' values."""

from pathlib import Path

import pytest

from cnn_arch import settings
from cnn_arch.data import views
from cnn_arch.models import MODELS, create_model
from cnn_arch.models.build import check_image_size
from configs.base import DATA
from tests.models.conftest import KINDS, mark_slow
from tests.paper_tables import TOTALS

RECIPES = sorted(path.stem for path in Path("configs").glob("[a-z]*.py"))
RECIPES.remove("base")
# They count the mean and the deviation of a folder; LeNet-5's paper gives both.
OF_SMALL_IMAGES = {name for name in TOTALS if TOTALS[name][4] == 10} - {"lenet5"}


def parse(name, data=""):
    config, changed = settings.parse(
        [f"--config=configs/{name}.py{data and ':'}{data}"]
    )
    assert changed == {}
    return config


def test_a_recipe_for_every_paper_network():
    assert set(TOTALS) <= set(RECIPES) <= set(MODELS)


def test_the_default_data_is_the_papers():
    data = {name: parse(name).data.name for name in TOTALS}
    of_mnist = {name for name in data if data[name] == "mnist5k"}
    assert of_mnist == {"lenet", "lenet5"}
    of_cifar = {name for name in data if data[name] == "cifar10"}
    assert of_cifar == {name for name in TOTALS if TOTALS[name][4] == 10} - of_mnist
    assert set(data.values()) == {"mnist5k", "cifar10", "imagenet2012"}


@pytest.mark.parametrize("name", mark_slow(RECIPES, KINDS))
def test_no_map_is_empty(name):
    configs = [parse(name, data) for data in DATA]
    for size in {config.data.image_size for config in configs}:
        model = create_model(name, 10, **configs[0].model.fields)
        check_image_size(model, name, size, channels=3)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("data", DATA)
def test_it_suits_every_data_set(name, data):
    config = parse(name, data)
    assert config.is_locked
    assert config.model.name == name
    optim, size = config.optim, config.data.image_size
    assert all(0 < x < (config.steps or config.epochs) for x in optim.milestones)
    assert bool(optim.milestones) == (optim.schedule == "step")
    is_counted = data == "folder" and name in OF_SMALL_IMAGES
    num_numbers = 0 if is_counted else config.data.channels
    assert len(config.data.mean) == len(config.data.std) == num_numbers
    assert size <= config.data.scale_min <= config.data.scale_max
    if name != "cuda_convnet":  # whose author cut 24 px out of 32
        assert config.data.in_memory or 0.86 < size / config.data.eval_resize <= 1
    assert not views.small_views(config.data)
    assert (config.data.pixels == "stored") == (data == "imagenet2012")


# He et al. 2015, Sections 3.4 and 4.2; Krizhevsky et al. 2012, Section 5; Simonyan and
# Zisserman 2014, Section 3.1; Szegedy et al. 2015, Section 8.
@pytest.mark.parametrize(
    ("name", "batch_size", "rate", "decay", "epochs"),
    [
        ("resnet152", 256, 0.1, 1e-4, 120.0),
        ("resnet110", 128, 0.1, 1e-4, 182.0),
        ("alexnet", 128, 0.01, 5e-4, 90.0),
        ("vgg19", 256, 0.01, 5e-4, 74.0),
        ("inception_v4", 32, 0.045, 4e-5, 100.0),
    ],
)
def test_the_papers_settings(name, batch_size, rate, decay, epochs):
    config = parse(name)
    optim = config.optim
    assert (config.batch_size, config.epochs) == (batch_size, epochs)
    assert (optim.learning_rate, optim.weight_decay) == (rate, decay)
    assert optim.momentum == 0.9


def test_a_shorter_run_scales_its_milestones_and_rate():
    whole, short = parse("resnet34"), parse("resnet34", "fashion_mnist")
    assert (short.epochs, short.batch_size) == (10.0, 128)
    assert short.optim.milestones == (2.5, 5.0, 7.5)
    assert short.optim.learning_rate == whole.optim.learning_rate / 2
