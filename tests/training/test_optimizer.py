"""Learning rates and weight decay, compared with calculations by hand."""

import ast
import re

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from cnn_arch import choices, installation, settings
from cnn_arch.errors import UsageError
from cnn_arch.screen import Screen
from cnn_arch.training import optimizer, schedules


def make_config(*words):
    config, _ = settings.parse(["--config=tests/training/by_epochs.py:folder", *words])
    return config


@pytest.mark.parametrize(
    ("recipe", "words", "expected"),
    [
        # (steps, epochs, milestones, warm-up in epochs, in steps)
        ({}, "", (0, 182, (91, 137), 1, 0)),
        ({}, "steps=6400", (6400, 182, (3200, 4817.6), 0, 35)),
        ({}, "steps=6400 optim.milestones=(8,9)", (6400, 182, (8, 9), 0, 35)),
        ({"steps": 64_000}, "", (64_000, 182, (91, 137), 1, 0)),
        ({"steps": 640}, "epochs=10", (0, 10, (1.4219, 2.1406), 0.015625, 0)),
        ({"steps": 640}, "epochs=182 steps=320", (320, 182, (45.5, 68.5), 0, 0)),
    ],
)
def test_the_schedule_follows_the_unit_of_the_length(recipe, words, expected):
    config = ConfigDict(make_config("--config.optim.warmup_epochs=1"))
    config.update(recipe)
    original, given = settings.flatten(config), {}
    for word in words.split():
        key, _, value = word.partition("=")
        given[key] = word
        config.update_from_flattened_dict({key: ast.literal_eval(value)})
    choices.follow_length(config, original, given)
    optim = config.optim
    rise = optim.warmup_epochs, optim.warmup_steps
    assert (config.steps, config.epochs, tuple(optim.milestones)) == expected[:3]
    assert rise == pytest.approx(expected[3:], rel=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("steps=9 optim.warmup_epochs=1", "in steps; give --config.optim.warmup_steps"),
        ("optim.warmup_steps=9", "in epochs; give --config.optim.warmup_epochs"),
        ("optim.name=lamb mesh.model=2", "mesh.model=2: lamb needs the norms of whole"),
        (
            "optim.min_rate=0.2",
            "min_rate=0.2: must be at most optim.learning_rate, 0.1",
        ),
    ],
)
def test_settings_of_the_optimizer_agree(words, message):
    with pytest.raises(UsageError, match=message):
        make_config(*(f"--config.{word}" for word in words.split()))


def test_cosine_with_warmup():
    words = ["--config.optim.schedule=cosine", "--config.optim.warmup_epochs=2"]
    config = make_config(*words, "--config.epochs=12")
    rate = schedules.make_schedule(config, 10)
    by_hand = [
        0.1 * t / 20 if t < 20 else 0.05 * (1 + np.cos(np.pi * (t - 20) / 100))
        for t in range(121)
    ]
    np.testing.assert_allclose([rate(t) for t in range(121)], by_hand, atol=1e-7)


def test_warmup_does_not_move_the_milestones():
    words = ["--config.optim.warmup_epochs=2", "--config.optim.milestones=(5,)"]
    rate = schedules.make_schedule(make_config(*words, "--config.epochs=12"), 10)
    np.testing.assert_allclose([rate(t) for t in (19, 49, 51)], [0.095, 0.1, 0.01])


def test_milestones_on_the_same_step_all_act():
    config = make_config("--config.epochs=1", "--config.optim.milestones=(0.3,0.4,0.9)")
    rate = schedules.make_schedule(config, 2)  # 0.6, 0.8 and 1.8 steps
    np.testing.assert_allclose([rate(t) for t in range(3)], [0.1, 1e-3, 1e-4])


@pytest.mark.parametrize("epochs", [6.0, 364.0, 0.01, 1e-5])
def test_the_schedule_keeps_its_shape_when_the_epochs_change(epochs):
    config = make_config(f"--config.epochs={epochs}")  # the recipe: 91 and 137 of 182
    assert config.optim.milestones == pytest.approx(
        [epochs / 2, epochs * 137 / 182], rel=1e-4
    )
    words = [f"--config.epochs={epochs}", "--config.optim.milestones=(1,2)"]
    assert make_config(*words).optim.milestones == (1, 2)  # the user's stay
    assert make_config("--config.epochs=182").optim.milestones == (91.0, 137.0)
    recipe = "--config=tests/training/with_warmup.py"
    config, _ = settings.parse([recipe, f"--config.epochs={epochs}"])
    assert config.optim.warmup_epochs == pytest.approx(epochs / 182, rel=1e-4)


@pytest.mark.parametrize(
    ("words", "remark"),
    [
        ("epochs=6 optim.milestones=(3,7.5,15)", "7.5, 15 not before the end"),
        ("epochs=6 optim.milestones=(3,5.99)", "5.99 not before the end of the run"),
        (
            "epochs=6 optim.warmup_epochs=2 optim.milestones=(1,4)",
            "1 not after the warm",
        ),
        ("epochs=6 optim.milestones=(0,4)", "0 not after the warm-up"),
        ("epochs=6 optim.warmup_epochs=9", "as long as the run, so the rate never"),
        ("epochs=6 optim.milestones=()", "the rate never falls"),
        ("steps=90 optim.milestones=(30,90)", "90 not before the end of the run"),
        ("steps=90 optim.milestones=(3,50) optim.warmup_steps=9", "3 not after the w"),
        ("steps=90 optim.warmup_steps=90", "as long as the run, so the rate never"),
        ("optim.schedule=exponential optim.fall_every=182", "the rate never falls"),
    ],
)
def test_what_a_schedule_never_does_is_named_and_the_fix_works(words, remark):
    words = [f"--config.{word}" for word in words.split()]
    (warning,) = schedules.check_schedule(make_config(*words), 27)
    assert remark in warning
    fix = re.findall(r"--config\.optim\.[^\" ]+", warning)[-1]
    key = fix.partition("=")[0]
    words = [word for word in words if not word.startswith(f"{key}=")]
    assert schedules.check_schedule(make_config(*words, fix), 27) == []


@pytest.mark.parametrize("name", installation.recipes())
def test_the_schedules_of_the_recipes_are_whole(name):
    for data in ("", ":folder", ":mnist5k"):
        config, _ = settings.parse([f"--config={name}{data}"])
        assert schedules.check_schedule(config, 100) == []


def test_a_run_has_at_least_one_step_and_can_count_them():
    with pytest.raises(UsageError, match=r"0\.001: 0 steps; must be at least 0\.037"):
        schedules.check_schedule(make_config("--config.epochs=0.001"), 27)
    remarks = schedules.check_schedule(make_config("--config.epochs=0.037"), 27)
    assert "1 step, too few" in remarks[0]
    with pytest.raises(UsageError, match=r"must be at most 2147$"):
        schedules.check_schedule(make_config("--config.epochs=1e6"), 1_000_000)


def test_the_screen_names_what_follows_the_epochs_and_what_has_no_effect(capsys):
    words = ["--config=tests/training/by_epochs.py:folder", "--config.epochs=6"]
    words += ["--config.data.crop_padding=2", "--config.data.min_area=0.5"]
    config, _ = settings.parse(words)
    optimizer.say_recipe(config, words, 100, Screen())
    shown = capsys.readouterr()
    assert "6 epochs, batch 128, sgd momentum 0.9, lr 0.1 x 0.1 at 3, 4.5165" in (
        shown.out
    )
    assert "in the recipe's proportions: optim.milestones=[3.0, 4.5165]" in shown.out
    assert shown.err == (
        "warning: --config.data.min_area: without effect, as data.train_crop is "
        "pad_crop, not random_resized_crop\n"
    )
    words.append("--config.optim.schedule=constant")  # it has no milestones
    config, _ = settings.parse(words)
    optimizer.say_recipe(config, words, 100, Screen())
    assert "milestones" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("decay", "decayed"),
    [("all", {"kernel", "bias", "scale"}), ("kernels", {"kernel"})],
)
def test_decay_mask(decay, decayed):
    config = make_config(
        "--config.optim.weight_decay=0.5", f"--config.optim.decay={decay}"
    )
    sgd = optimizer.make_optimizer(config, optax.constant_schedule(0.1))
    params = {
        "conv": {"kernel": jnp.ones(()), "bias": jnp.ones(())},
        "bn": {"scale": jnp.ones(()), "bias": jnp.ones(())},
    }
    zeros = optax.tree.zeros_like(params)
    updates, _ = sgd.update(zeros, sgd.init(params), params)
    for layer in optax.apply_updates(params, updates).values():
        for name, value in layer.items():
            expected = 1 - 0.1 * 0.5 if name in decayed else 1.0
            np.testing.assert_allclose(value, expected, err_msg=name)
