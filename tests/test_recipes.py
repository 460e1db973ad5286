"""Every recipe with every data set: network, image size and the papers' values."""

from pathlib import Path

import pytest

from cnn_arch import folders, settings
from cnn_arch.costs.summary import describe_network
from cnn_arch.data import views
from cnn_arch.models import MODELS, create_model
from cnn_arch.models.build import check_image_size
from cnn_arch.training import optimizer
from configs import base
from configs.base import DATA, FOLDERS
from tests import deviations, paper_recipes
from tests.models.conftest import KINDS, mark_slow
from tests.paper_tables import AUX_PARAMS, TOTALS

RECIPES = sorted(path.stem for path in Path("configs").glob("[a-z]*.py"))
RECIPES.remove("base")
# They count the mean and the deviation of a folder; others have numbers of their own.
OURS = {"inception_cifar", "kernel_stacks"}  # no paper's
OF_SMALL_IMAGES = {name for name in TOTALS if TOTALS[name][4] == 10} | OURS
OF_SMALL_IMAGES -= {"lenet5", "cuda_convnet"}


SECOND = {  # recipes, and whose network they train
    "googlenet_slow": "googlenet",
    "resnet20_fast": "resnet20",
    "resnet50_imagenet1k_v2": "resnet50_v1_5",
}


def network(recipe: str) -> str:
    """Returns whose network a recipe trains; some have two recipes."""
    return SECOND.get(recipe, recipe)


def parse(name, data=""):
    config, changed = settings.parse(
        [f"--config=configs/{name}.py{data and ':'}{data}"]
    )
    assert changed == {}
    return config


def test_a_recipe_for_every_paper_network():
    assert {network(name) for name in RECIPES} == {*TOTALS, *OURS} <= set(MODELS)


def test_the_default_data_is_the_papers():
    data = {name: parse(name).data.name for name in TOTALS}
    of_mnist = {name for name in data if data[name] == "mnist5k"}
    assert of_mnist == {"lenet", "lenet5"}
    of_cifar = {name for name in data if data[name] == "cifar10"}
    assert of_cifar == {name for name in TOTALS if TOTALS[name][4] == 10} - of_mnist
    assert set(data.values()) == {"mnist5k", "cifar10", "imagenet2012"}


@pytest.mark.parametrize(
    "name",
    mark_slow(RECIPES, {*KINDS} - {"googlenet_bn", "inception_v3", "inception_v4"}),
)
def test_no_map_is_empty(name):
    configs = [parse(name, data) for data in DATA]
    for size in {config.data.image_size for config in configs}:
        model = create_model(network(name), 10, **configs[0].model.fields)
        check_image_size(model, network(name), size, channels=3)


@pytest.mark.parametrize(
    "name", mark_slow(TOTALS, {"lenet5", "resnet20", "googlenet_bn", "inception_v3"})
)
def test_a_run_says_the_size_of_its_network(name):
    """As its step has the network: BatchNorm's mean is over all devices."""
    params, macs, _, _, num_classes = TOTALS[name]
    in_heads = (
        AUX_PARAMS.get(name, 0) if parse(name).model.fields.get("aux_heads") else 0
    )
    shown = describe_network(parse(name), num_classes)
    assert f" {params:,} parameters" in shown
    assert f", {macs / 1e6:,.2f} MMAC an image" in shown
    assert (f", {in_heads:,} more in auxiliary heads" in shown) == (in_heads > 0)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("data", DATA)
def test_it_suits_every_data_set(name, data):
    config = parse(name, data)
    assert config.is_locked
    assert config.model.name == network(name)
    optim, size = config.optim, config.data.image_size
    assert all(0 < x < (config.steps or config.epochs) for x in optim.milestones)
    assert bool(optim.milestones) == (optim.schedule == "step")
    is_counted = data in FOLDERS and network(name) in OF_SMALL_IMAGES
    num_numbers = 0 if is_counted else config.data.channels
    assert len(config.data.mean) == len(config.data.std) == num_numbers
    assert size <= config.data.scale_min <= config.data.scale_max
    size = config.data.eval_size or size
    if name != "cuda_convnet":  # whose author cut 24 px out of 32
        assert config.data.in_memory or 0.86 < size / config.data.eval_resize <= 1
    assert not views.small_views(config.data)
    assert (config.data.pixels == "stored") == (data == "imagenet2012")


@pytest.mark.parametrize("name", paper_recipes.RECIPES)
def test_it_has_the_papers_numbers(name):
    found = settings.flatten(parse(name))
    for key, wanted in paper_recipes.RECIPES[name].items():
        wanted = list(wanted) if isinstance(wanted, tuple) else wanted
        assert found[key] == wanted, key


def test_a_shorter_run_scales_its_milestones_and_rate():
    whole, short = parse("resnet34"), parse("resnet34", "fashion_mnist")
    assert (short.epochs, short.batch_size) == (10.0, 128)
    assert parse("resnet20").steps == 64_000
    of_folder = parse("resnet20", "folder")  # perhaps of 200 pictures
    assert (of_folder.steps, of_folder.epochs) == (0, 182.0)
    assert parse("resnet20", "fashion_mnist").optim.milestones == (15.0, 22.5)
    assert short.optim.learning_rate == whole.optim.learning_rate / 2


@pytest.mark.parametrize("name", ["alexnet", "alexnet_owt", "vgg11", "vgg16", "zfnet"])
def test_networks_without_batch_norm_keep_their_rate_in_a_short_run(name):
    """0.01, also GoogLeNet's with batches of 32."""
    assert parse(name, "folder").batch_size == 32
    for data in ("folder", "cifar10", "imagenet2012"):
        assert parse(name, data).optim.learning_rate == 0.01


@pytest.mark.parametrize("name", ["alexnet", "zfnet", "vgg11", "resnet34"])
def test_a_short_run_does_not_wait_for_a_plateau(name):
    """Three falls, as the papers': 0.1 to 0.0001, after each quarter of 30 epochs."""
    whole, short = parse(name), parse(name, "folder")
    assert whole.optim.schedule == "plateau"
    assert short.optim.schedule == "step"
    assert short.optim.milestones == (7.5, 15.0, 22.5)
    assert short.optim.factor**3 == pytest.approx(
        whole.optim.min_rate / whole.optim.learning_rate
    )


def test_a_short_run_without_a_lowest_rate_falls_three_times():
    config = base.get_config()
    config.optim.schedule = "plateau"
    config = base.use_data_of_any_size(config, "folder")
    assert config.optim.milestones == (7.5, 15.0, 22.5)


@pytest.mark.parametrize(
    ("name", "field", "paper", "short"),
    [
        ("alexnet", "initial_bias", 1.0, 0.1),
        ("alexnet_one_tower", "initial_bias", 1.0, 0.1),
        ("alexnet_owt", "initial_bias", 1.0, 0.1),
        ("vgg11", "initialisation", "normal", "glorot"),
        ("vgg11_lrn", "initialisation", "normal", "glorot"),
    ],
)
def test_a_short_run_starts_from_other_values(name, field, paper, short):
    """The papers' need more steps than a short run has, before the loss falls."""
    found = {data: parse(name, data).model.fields[field] for data in DATA}
    long = "imagenet2012", "large_folder"
    assert found == {data: paper if data in long else short for data in DATA}


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_short_run_keeps_no_average_of_what_it_was_before_it_learnt(name):
    assert parse(name).optim.average != "none"
    assert parse(name, "folder").optim.average == "none"


def test_the_average_of_imagenet1k_v2_is_torchvisions():
    """After 32 steps the old average has the weight that train.py gives it."""
    decay = parse("resnet50_imagenet1k_v2").optim.average_decay
    adjust = 8 * 128 * 32 / 600  # train.py: world_size x batch_size x steps / epochs
    assert decay**32 == pytest.approx(1 - (1 - 0.99998) * adjust, rel=1e-12)
    short = parse("resnet50_imagenet1k_v2", "mnist")
    assert short.optim.warmup_epochs == pytest.approx(5 / 60, abs=1e-4)
    assert (short.data.image_size, short.data.eval_size) == (96, 0)


def test_lenet5_on_mnist_is_the_papers():
    """LeCun et al. 1998, Section III.B: 20 passes; Figure 5: without distortions."""
    config = parse("lenet5", "mnist")
    assert (config.epochs, config.data.train_crop, config.data.flip) == (20, "none", 0)
    assert (config.data.image_size, config.data.fit) == (32, "pad")
    assert config.data.validation_fraction == 0.02


def test_the_page_has_all_deviations():
    """``python -m tests.deviations`` writes the table."""
    page = deviations.PAGE.read_text(encoding="utf-8")
    assert page == deviations.page_with(deviations.table())
    assert "| `vgg11` | Those of `vgg16`. |" in page


LENGTH = (
    "batch_size", "epochs", "steps", "optim.learning_rate", "optim.min_rate",
    "optim.milestones", "optim.fall_every", "optim.patience", "optim.warmup_epochs",
)  # fmt: skip


def test_a_folder_as_large_as_imagenet_is_trained_on_as_imagenet(tmp_path, monkeypatch):
    """Its recipe keeps the paper's batch, rate and length; a smaller one's does not."""
    monkeypatch.setattr(folders, "LARGE", 10)
    for place in ("train/a", "train/b"):
        (tmp_path / place).mkdir(parents=True)
        for number in range(5):
            (tmp_path / place / f"{number}.jpg").touch()
    for name in RECIPES:
        if parse(name).data.name != "imagenet2012":
            continue
        words = [f"--config={name}:folder", f"--config.data.dir={tmp_path}"]
        large = settings.flatten(settings.parse(words)[0])
        paper = settings.flatten(parse(name))
        assert {key: large[key] for key in LENGTH} == {
            key: paper[key] for key in LENGTH
        }
        assert large["data.source"] == "folder"
        assert optimizer.remark_on_size(words) == (
            "as for ImageNet: the folder has 10 images or more"
        )
    (tmp_path / "train/a/4.jpg").unlink()
    assert settings.parse(words)[0].batch_size == 32
    alexnet = ["--config=alexnet:folder", words[1]]
    assert optimizer.remark_on_size(alexnet) == (
        "shortened from 90 epochs, batch 128, initial bias 1.0: the folder has fewer "
        "than 10 images"
    )
    (tmp_path / folders.PREPARED).write_text('{"num_images": {"train": 9, "test": 1}}')
    assert settings.parse(alexnet)[0].batch_size == 128
    assert not optimizer.remark_on_size(["--config=resnet20:folder", words[1]])
    assert not optimizer.remark_on_size(["--config=alexnet"])
