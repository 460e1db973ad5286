"""Settings of the command line, and the error line of each mistake."""

import json
import sys

import pytest

from cnn_arch import choices, settings
from cnn_arch.errors import UsageError


def test_settings_change_what_they_name():
    words = (
        "--config.seed=7 --config configs/resnet20.py:folder --config.data.dir photos"
    )
    words += " --config.optim.milestones=(1,2) --config.data.skip_broken"
    config, changed = settings.parse(words.split())
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
        (f"{L} --config.batchsize=64", "--config.batchsize=64: configs/lenet5.py has "
         "no such setting; did you mean --config.batch_size (now 64)?"),
        (f"{L} --config.num_threads=2", "--config.num_threads=2: configs/lenet5.py has "
         "no such setting; did you mean --config.data.num_threads (now 0)?"),
        (f"{L} batch_size=64",
         "'batch_size=64': settings need the prefix; write --config.batch_size=64"),
        (f"{L} --config.label_smoothing=10",
         "--config.label_smoothing=10: must be a number, at least 0 and below 1, such "
         "as 0.1"),
        (f"{L} --config.batch_size=many", "--config.batch_size=many: must be a whole "
         "number, 1 to 1,048,576, such as 128"),
        (f"{L} --config.seed=1.5", "--config.seed=1.5: must be a whole number, 0 to "
         "4,294,967,295, such as 0"),
        (f"{L} --config.epochs", "--config.epochs: needs a value; give one, as in "
         "--config.epochs=120.0"),
        (f"{L} --config.epochs -5", "--config.epochs=-5: must be a number above 0, at "
         "most 1,000,000, such as 1.0"),
        ("--config", "--config: needs a value, as in --config=lenet5"),
        (f"{L} --config.epochs=", "--config.epochs=: is empty; give one, as in "
         "--config.epochs=120.0"),
        (f"{L} --config.data.dir=", "--config.data.dir=: is empty; give one, or leave "
         "it out"),
        (f"{L} --config.optim.lr=1", "--config.optim.lr=1: configs/lenet5.py has no "
         "such setting; did you mean --config.optim.learning_rate (now 0.05)?"),
        (f"{L}:", f"{L}:: must name the data after the colon, as in {L}:folder; or "
         "leave the colon out"),
        (f"{L} --config.data=x",
         "--config.data=x: a group of settings; set one, as in --config.data.KEY"),
        (f"{L} --config.precision=float16",
         "--config.precision=float16: must be one of auto, float32, bfloat16; did you "
         "mean bfloat16?"),
        ("--config=configs/resnet43.py", "--config=configs/resnet43.py: no such file; "
         "did you mean configs/resnet44.py?"),
        (f"{L}:cifar", f"{L}:cifar: :cifar: no such data set; there are mnist5k, "
         "mnist, fashion_mnist, cifar10, cifar100, imagenet2012, folder, "
         "large_folder"),
        (f"--workdri=x {L}", "--workdri: no such option; see --help"),
        ("", "--config: must be given once; see --help"),
        ("--config=configs/resnet20.py:mnist5k --config.data.channels=3",
         "--config.data.mean=[33.3]: must have a value for each of the 3 channels, "
         "such as --config.data.mean=33.3,33.3,33.3"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line(words, line):
    with pytest.raises(UsageError) as error:
        settings.parse(words.split())
    assert str(error.value) == line


def sides(*words):
    data = settings.parse(words)[0].data
    return data.eval_resize, data.scale_min, data.scale_max


def test_the_shorter_sides_follow_image_size():
    """Each keeps the recipe's ratio: 256 / 224, 342 / 299, [256, 480] / 224."""
    small = "--config.data.image_size=64"
    resnet = "--config=configs/resnet18.py:folder"
    assert sides(resnet) == (256, 256, 480)
    assert sides(resnet, small) == (73, 73, 137)
    assert sides("--config=configs/vgg11.py:folder", small) == (73, 73, 73)
    assert sides("--config=configs/alexnet.py:folder", small)[0] == round(
        64 * 256 / 227
    )
    assert sides("--config=configs/inception_v3.py:folder", small)[0] == 73
    assert sides("--config=configs/lenet5.py:folder")[0] == 37
    assert sides("--config=configs/resnet20.py:imagenet2012")[0] == 37
    given = "--config.data.eval_resize=256"
    assert sides(resnet, small, given) == (256, 73, 137)
    assert sides(given, resnet, small, "--config.data.scale_max=80") == (256, 73, 80)
    # The digits keep their size in a larger field.
    assert sides("--config=configs/lenet5.py", small)[0] == 28


def test_the_size_of_the_evaluation_follows_too():
    recipe, small = "--config=resnet50_imagenet1k_v2", "--config.data.image_size=88"
    assert sides(recipe)[0] == 232
    assert sides(recipe, small)[0] == 116
    assert settings.parse([recipe, small])[0].data.eval_size == 112
    assert settings.parse(["--config=resnet18", small])[0].data.eval_size == 0
    words = "--config.data.normalisation=mean_image", "--config.data.eval_size=64"
    with pytest.raises(UsageError, match="has a mean of each pixel"):
        settings.parse(["--config=resnet18:folder", *words])


def test_a_side_that_was_given_is_listed_as_changed():
    words = "--config=configs/resnet18.py:folder --config.data.eval_resize=256"
    assert settings.parse(words.split())[1] == {"data.eval_resize": 256}
    words += " --config.data.image_size=64"
    changed = {"data.eval_resize": 256, "data.image_size": 64}
    assert settings.parse(words.split())[1] == changed


def test_a_setting_that_is_given_twice_is_named():
    words = [L, "--config.epochs=5", "--config.epochs", "6"]
    config, _ = settings.parse(words)
    assert config.epochs == 6
    assert settings.remarks(words, config)[1] == [
        "--config.epochs=5: without effect, as --config.epochs=6 follows"
    ]


def test_an_empty_word_is_no_recipe():
    with pytest.raises(
        UsageError, match=r"^--config=: no such file; there are alexnet"
    ):
        settings.parse(["--config", ""])


def test_a_stored_config_is_read_back(tmp_path):
    config, _ = settings.parse(["--config=configs/resnet34.py"])
    path = tmp_path / "config.json"
    path.write_text(settings.to_json(config))
    assert settings.flatten(settings.from_json(path)) == settings.flatten(config)
    earlier = json.loads(settings.to_json(config))
    del earlier["data"]["pixels"]  # of a run before there was a choice
    path.write_text(json.dumps(earlier))
    assert settings.from_json(path).data.pixels == "stored"
    path.write_text("{}")
    with pytest.raises(UsageError, match="not the config of a run"):
        settings.from_json(path)


@pytest.mark.parametrize("text", ["learning_rate = 0.1\n", "import no_such_module\n"])
def test_a_file_that_is_not_a_recipe(text, tmp_path, monkeypatch):
    # ml_collections keeps the recipe of an earlier test as this module.
    monkeypatch.delitem(sys.modules, "config_config", raising=False)
    (tmp_path / "other.py").write_text(text)
    with pytest.raises(
        UsageError, match=r"other.py: not a recipe .*(get_config|no_such_mod)"
    ):
        settings.parse([f"--config={tmp_path / 'other.py'}"])


def test_a_config_of_an_earlier_version_is_read(tmp_path):
    """It has no settings that are newer, and a list where there are no milestones."""
    config, _ = settings.parse(["--config=lenet5"])
    stored = json.loads(settings.to_json(config))
    for key in choices.EARLIER:
        group, _, name = key.rpartition(".")
        (stored[group] if group else stored).pop(name)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(stored))
    read = settings.from_json(path)
    assert read.optim.milestones == read.data.pca == ()
    assert read.model.name == "lenet5"
