"""Every setting's type, range and shape: on the command line, in recipes and files."""

import functools
import json
import math
import sys

import pytest

from cnn_arch import installation, setting_rules, setting_words, settings
from cnn_arch.errors import UsageError
from configs import base

RECIPE = "--config=configs/resnet20.py"
# No setting has one of these values: not its type, not a number, or no shape of a list.
NO_VALUE = [
    None,
    math.nan,
    math.inf,
    -1e300,
    1e39,
    10**400,
    "\n",
    [None],
    [[1.0]],
    {"a": {}},
]
# A value of another type for each setting, by the type of its default.
OTHER_TYPE = {
    bool: ["yes", 1, 0.0],
    int: [True, 64.5, "64", [64]],
    float: [True, "0.1", [0.1]],
    str: [True, 5, ["a"]],
    tuple: [True, 5.0, "(1,)", [True], ["1"], [math.nan]],
}


@functools.cache
def recipe_as_json():
    return settings.to_json(settings.parse([RECIPE])[0])


def written(tmp_path, **changes):
    """Returns a config.json of ResNet-20 with changes, keys with ``__`` for a dot."""
    record = json.loads(recipe_as_json())
    for key, value in changes.items():
        group, _, name = key.rpartition("__")
        (record[group] if group else record)[name] = value
    path = tmp_path / "config.json"
    path.write_text(json.dumps(record))
    return path


def test_the_table_has_every_setting_and_no_other():
    known = settings.flatten(base.get_config())
    assert set(setting_rules.RULES) == set(known)


def test_defaults_and_examples_follow_their_rules():
    for key, default in settings.flatten(base.get_config()).items():
        rule = setting_rules.RULES[key]
        assert rule.follows(default), key
        config, _ = settings.parse([RECIPE])
        now = settings.flatten(config)[key]
        assert rule.follows(setting_words.read_value(rule.example, now)), key


def test_every_recipe_follows_the_rules():
    for name in installation.recipes():
        settings.parse([f"--config={name}"])


@pytest.mark.parametrize("key", setting_rules.RULES)
def test_no_setting_takes_what_is_not_its_value(key, tmp_path):
    default = base.get_config()
    for name in key.split("."):
        default = default[name]
    for value in NO_VALUE + OTHER_TYPE[type(default)]:
        if key in ("data.dir", "init_from") and value == "\n":
            continue  # a path may have any name
        if key == "freeze" and value == ["1"]:
            continue  # a layer, too
        path = written(tmp_path, **{key.replace(".", "__"): value})
        with pytest.raises(UsageError) as error:
            settings.from_json(path)
        assert str(error.value).startswith(f"{path}: "), value
        assert key.rpartition(".")[0] in str(error.value), value


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "[]",
        "5",
        '{"data": 5}',
        '{"data.dir": "x"}',
        '{"items": 1}',
        "{" + '"seed": ' + "9" * 5000 + "}",
        '{"seed": 1',
        "",
    ],
)
def test_a_file_that_is_no_config_is_one_line(text, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        settings.from_json(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_bytes_that_are_no_text_and_a_folder_are_no_config(tmp_path):
    (tmp_path / "config.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not the config of a run"):
        settings.from_json(tmp_path / "config.json")
    with pytest.raises(UsageError, match="not the config of a run"):
        settings.from_json(tmp_path)


def test_a_setting_that_does_not_exist_is_named(tmp_path):
    path = written(tmp_path, optim__learing_rate=0.1)
    with pytest.raises(UsageError, match=r"did you mean optim\.learning_rate\?"):
        settings.from_json(path)
    path = written(tmp_path, model__fields={"num_classes": 5})
    with pytest.raises(UsageError, match=r"set data\.num_classes instead"):
        settings.from_json(path)


def own_recipe(tmp_path, monkeypatch, body):
    """Returns the word for a recipe with these lines and a network of the user's."""
    # ml_collections keeps the recipe of an earlier test as this module.
    monkeypatch.delitem(sys.modules, "config_config", raising=False)
    path = tmp_path / "recipe.py"
    path.write_text(
        "from configs import base\n\n\ndef get_config(data='mnist5k'):\n"
        "    config = base.get_config()\n    config.model.name = 'own'\n"
        f"    {body}\n    return base.use_data(config, data)\n"
    )
    return f"--config={path}"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("config.epochs = float('inf')", "epochs=inf: must be a number above 0"),
        ("config.optim.learing_rate = 1.0", "no such setting; did you mean optim.lea"),
        ("config.optim.milestones = ('5',)", "must be numbers of epochs"),
        ("config.batch_size = True", "batch_size"),
        ("config.model.fields.dtype = 'x'", "set precision instead"),
    ],
)
def test_a_recipe_that_breaks_a_rule_is_named(body, message, tmp_path, monkeypatch):
    word = own_recipe(tmp_path, monkeypatch, body)
    with pytest.raises(UsageError) as error:
        settings.parse([word])
    assert str(error.value).startswith(f"{word}: ") and message in str(error.value)


def test_own_networks_have_any_fields(tmp_path, monkeypatch):
    import cnn_arch.models  # noqa: F401 - as a recipe that registers a network does

    body = "config.model.fields.update(dict(groups=(1, 2), dropout_rate=5, name='x'))"
    word = own_recipe(tmp_path, monkeypatch, body)
    config, _ = settings.parse([word, "--config.model.fields.groups=(3,)"])
    assert config.model.fields.groups == (3,)
    path = tmp_path / "config.json"
    path.write_text(settings.to_json(config))
    assert settings.flatten(settings.from_json(path)) == settings.flatten(config)


@pytest.mark.parametrize(
    "setting", ["dropout_rate=5", "dropout_rate=nan", "groups=3", "groups=two"]
)
def test_fields_of_the_projects_networks_have_rules(setting):
    words = ["--config=alexnet", f"--config.model.fields.{setting}"]
    with pytest.raises(UsageError, match=f"fields.{setting}: must be "):
        settings.parse(words)
