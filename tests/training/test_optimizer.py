"""Learning rates and weight decay, compared with calculations by hand."""

import re

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnn_arch import installation, settings
from cnn_arch.errors import UsageError
from cnn_arch.screen import Screen
from cnn_arch.training import optimizer


def make_config(*words):
    config, _ = settings.parse(["--config=configs/resnet20.py:folder", *words])
    return config


def test_step_schedule_of_resnet20_is_the_papers():
    # He et al. 2015, Section 4.2: 0.1, divided by 10 at 32k and 48k iterations, 64k in
    # all; 351 steps in an epoch of 45,000 images.
    config = make_config()
    rate = optimizer.make_schedule(config, 351)
    assert 63_500 < config.epochs * 351 < 64_500
    for at, expected in [(0, 0.1), (31_900, 0.1), (32_000, 0.01), (48_100, 0.001)]:
        np.testing.assert_allclose(rate(at), expected, rtol=1e-5)


def test_cosine_with_warmup():
    words = ["--config.optim.schedule=cosine", "--config.optim.warmup_epochs=2"]
    config = make_config(*words, "--config.epochs=12")
    rate = optimizer.make_schedule(config, 10)
    by_hand = [
        0.1 * t / 20 if t < 20 else 0.05 * (1 + np.cos(np.pi * (t - 20) / 100))
        for t in range(121)
    ]
    np.testing.assert_allclose([rate(t) for t in range(121)], by_hand, atol=1e-7)


def test_warmup_does_not_move_the_milestones():
    words = ["--config.optim.warmup_epochs=2", "--config.optim.milestones=(5,)"]
    rate = optimizer.make_schedule(make_config(*words, "--config.epochs=12"), 10)
    np.testing.assert_allclose([rate(t) for t in (19, 49, 51)], [0.095, 0.1, 0.01])


def test_milestones_on_the_same_step_all_act():
    config = make_config("--config.epochs=1", "--config.optim.milestones=(0.3,0.4,0.9)")
    rate = optimizer.make_schedule(config, 2)  # 0.6, 0.8 and 1.8 steps
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
    config, _ = settings.parse(["--config=resnet110", f"--config.epochs={epochs}"])
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
    ],
)
def test_what_a_schedule_never_does_is_named_and_the_fix_works(words, remark):
    words = [f"--config.{word}" for word in words.split()]
    (warning,) = optimizer.check_schedule(make_config(*words), 27)
    assert remark in warning
    fix = re.findall(r"--config\.optim\.[^\" ]+", warning)[-1]
    key = fix.partition("=")[0]
    words = [word for word in words if not word.startswith(f"{key}=")]
    assert optimizer.check_schedule(make_config(*words, fix), 27) == []


@pytest.mark.parametrize("name", installation.recipes())
def test_the_schedules_of_the_recipes_are_whole(name):
    for data in ("", ":folder", ":mnist5k"):
        config, _ = settings.parse([f"--config={name}{data}"])
        assert optimizer.check_schedule(config, 100) == []


def test_a_run_has_at_least_one_step_and_can_count_them():
    with pytest.raises(UsageError, match=r"0\.001: 0 steps; must be at least 0\.037"):
        optimizer.check_schedule(make_config("--config.epochs=0.001"), 27)
    remarks = optimizer.check_schedule(make_config("--config.epochs=0.037"), 27)
    assert "1 step, too few" in remarks[0]
    with pytest.raises(UsageError, match=r"must be at most 2147$"):
        optimizer.check_schedule(make_config("--config.epochs=1e6"), 1_000_000)


def test_the_screen_names_what_follows_the_epochs_and_what_has_no_effect(capsys):
    words = ["--config=resnet20:folder", "--config.epochs=6"]
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
