"""Learning rates and weight decay, compared with calculations by hand."""

import ast
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from cnn_arch import choices, installation, settings
from cnn_arch.errors import UsageError
from cnn_arch.screen import Screen
from cnn_arch.training import optimizer, request, schedules


def make_config(*words):
    config, _ = settings.parse(["--config=tests/training/by_epochs.py:folder", *words])
    return config


def test_step_schedule_of_resnet20_is_the_papers():
    # He et al. 2015, Section 4.2: 0.1, divided by 10 at 32k and 48k iterations, 64k in
    # all; 351 steps in an epoch of 45,000 images.
    config = make_config()
    rate = schedules.make_schedule(config, 351)
    assert 63_500 < config.epochs * 351 < 64_500
    for at, expected in [(0, 0.1), (31_900, 0.1), (32_000, 0.01), (48_100, 0.001)]:
        np.testing.assert_allclose(rate(at), expected, rtol=1e-5)


def rates_at(steps_per_epoch, *words):
    """Returns the rate as a function of a list of steps."""
    rate = schedules.make_schedule(make_config(*words), steps_per_epoch)
    return lambda *steps: [float(rate(jnp.array(step))) for step in steps]


def of_schedule(name, *words):
    words = [f"--config.{word}" for word in words]
    return [f"--config.optim.schedule={name}", *words]


def test_a_length_and_milestones_in_steps_are_the_papers_exactly():
    # He et al. 2015, Section 4.2: "divide it by 10 at 32k and 48k iterations, and
    # terminate training at 64k iterations".
    words = "--config.steps=64000", "--config.optim.milestones=(32000,48000)"
    for steps_per_epoch in (351, 7):  # whatever the data
        rates = rates_at(steps_per_epoch, *words)
        found = rates(0, 31_999, 32_000, 32_001, 47_999, 48_000, 63_999)
        np.testing.assert_allclose(found, [0.1, 0.1, *[0.01] * 3, *[0.001] * 2], 1e-5)
        assert schedules.num_steps(make_config(*words), steps_per_epoch) == 64_000
    assert schedules.num_steps(make_config(), 351) == 182 * 351


def test_polynomial_is_caffes():
    # Caffe's sgd_solver.cpp: base_lr * (1 - iter / max_iter) ^ power.
    words = of_schedule("polynomial", "optim.power=0.5", "steps=400")
    found = rates_at(10, *words)(0, 1, 100, 300, 399, 400)
    by_hand = [0.1 * (1 - step / 400) ** 0.5 for step in (0, 1, 100, 300, 399, 400)]
    np.testing.assert_allclose(found, by_hand, rtol=1e-5)
    floor = rates_at(10, *words, "--config.optim.min_rate=0.02")(0, 399, 400, 500)
    np.testing.assert_allclose(floor, [0.1, 0.08 * 0.05 + 0.02, 0.02, 0.02], rtol=1e-5)


def test_exponential_falls_each_so_many_epochs():
    # Szegedy et al. 2016, Section 8: 0.045, "decayed every two epoch" by 0.94.
    words = of_schedule("exponential", "epochs=100", "optim.fall_every=2")
    words += ["--config.optim.learning_rate=0.045", "--config.optim.factor=0.94"]
    rates = rates_at(1201, *words)  # a prime number of steps
    found = rates(0, 2401, 2402, 2403, 4803, 4804, 99 * 1201)
    powers = [0, 0, 1, 1, 1, 2, 49]
    np.testing.assert_allclose(found, [0.045 * 0.94**n for n in powers], rtol=1e-5)
    falls = [
        step for step in range(2402, 120_000, 2402) if rates(step) < rates(step - 1)
    ]
    assert len(falls) == 49
    floor = rates_at(1201, *words, "--config.optim.min_rate=0.04")
    np.testing.assert_allclose(floor(2402, 4804), [0.045 * 0.94, 0.04], rtol=1e-5)
    late = rates_at(1201, *words, "--config.optim.warmup_epochs=1")
    np.testing.assert_allclose(
        late(600, 1201, 2401, 2402),
        [0.045 * 600 / 1201, 0.045, 0.045, 0.045 * 0.94],
        1e-5,
    )


def test_a_fall_is_exact_late_in_a_long_run():
    # BVLC's solver of GoogLeNet: 4 % each 320,000 of 10 million steps.
    words = of_schedule("exponential", "steps=30000000", "optim.fall_every=320000")
    rates = rates_at(10, *words, "--config.optim.factor=0.96")
    at = 90 * 320_000  # float32 has no odd numbers here
    np.testing.assert_allclose(
        rates(at - 1, at), [0.1 * 0.96**89, 0.1 * 0.96**90], rtol=1e-5
    )


def test_one_cycle_rises_and_falls():
    # PyTorch's OneCycleLR: from 1/25 of the top in 30 % of the run, then to 1e-4 of it.
    words = of_schedule("one_cycle", "steps=100")
    found = rates_at(10, *words)(0, 15, 29, 30, 31, 65, 99, 100)

    def cosine(start, end, share):
        return end + (start - end) * (1 + np.cos(np.pi * share)) / 2

    low, last = 0.1 / 25, 0.1 / 25 / 1e4
    rise = [cosine(low, 0.1, n / 30) for n in (0, 15, 29, 30)]
    fall = [cosine(0.1, last, n / 70) for n in (1, 35, 69, 70)]
    np.testing.assert_allclose(found, rise + fall, rtol=1e-3, atol=1e-8)
    words += ["--config.optim.warmup_steps=70", "--config.optim.min_rate=0.01"]
    found = rates_at(10, *words)(69, 70, 71, 85, 100)
    by_hand = [cosine(low, 0.1, 69 / 70), 0.1, cosine(0.1, 0.01, 1 / 30), 0.055, 0.01]
    np.testing.assert_allclose(found, by_hand, rtol=1e-4)
    for length in (1, 2, 3):
        short = rates_at(10, *of_schedule("one_cycle", f"steps={length}"))
        assert all(0 < rate < 0.1001 for rate in short(*range(length)))


def test_cosine_and_step_have_a_lowest_rate():
    words = of_schedule("cosine", "steps=100", "optim.min_rate=0.02")
    found = rates_at(10, *words)(0, 50, 99, 100)
    by_hand = [0.02 + 0.04 * (1 + np.cos(np.pi * n / 100)) for n in (0, 50, 99, 100)]
    np.testing.assert_allclose(found, by_hand, rtol=1e-5)
    words = of_schedule("step", "steps=100", "optim.min_rate=0.005")
    found = rates_at(10, *words, "--config.optim.milestones=(10,20)")(9, 10, 19, 20)
    np.testing.assert_allclose(found, [0.1, 0.01, 0.01, 0.005], rtol=1e-5)


@pytest.mark.parametrize(
    ("length", "end", "fall"), [("steps=400", 399, 200), ("epochs=4", 3.999, 2)]
)
def test_the_drawn_rate_is_in_the_unit_of_the_length(length, end, fall):
    places, rates = schedules.curve(make_config(f"--config.{length}"))
    assert (places[0], places[-1]) == (0, end)
    assert abs(places[rates < 0.05][0] - fall) < 0.01 * end
    np.testing.assert_allclose(sorted(set(rates)), [0.001, 0.01, 0.1], rtol=1e-5)


def test_show_schedule_draws_without_data_and_makes_no_run(tmp_path, capsys):
    config = make_config("--config.optim.schedule=plateau")
    picture = tmp_path / "rate.png"
    assert request.show_schedule(str(picture), config, Screen()) == 0
    assert "falls depend on the validation errors" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [picture]
    with pytest.raises(UsageError, match="no effect with --show_schedule"):
        request.check({"show_schedule": "a.png", "workdir": "b"}, config)


@pytest.mark.parametrize(
    "words",
    [
        of_schedule("step", "steps=20", "optim.milestones=(5,12)"),
        of_schedule("polynomial", "steps=20", "optim.min_rate=0.01"),
        of_schedule("exponential", "steps=20", "optim.fall_every=6"),
        of_schedule("one_cycle", "steps=20", "optim.warmup_steps=5"),
        of_schedule("cosine", "steps=20", "optim.warmup_steps=5"),
    ],
)
def test_a_continued_run_has_the_rates_of_a_whole_one(words):
    """The count of updates is in the optimizer's state, so a checkpoint has it."""
    config = make_config(*words, "--config.optim.momentum=0")
    rate = schedules.make_schedule(config, 10)
    params, ones = {"kernel": jnp.zeros(())}, {"kernel": jnp.ones(())}

    def run(state, number):
        rule, found = optimizer.make_optimizer(config, rate), []
        for _ in range(number):
            updates, state = rule.update(ones, state, params)
            found.append(-float(updates["kernel"]))
        return found, state

    fresh = optimizer.make_optimizer(config, rate).init(params)
    for killed_at in (4, 5, 6, 12):
        first, saved = run(fresh, killed_at)
        saved = jax.tree.map(lambda leaf: jnp.array(np.asarray(leaf)), saved)
        rest, _ = run(saved, 20 - killed_at)
        expected = [float(rate(jnp.array(step))) for step in range(20)]
        np.testing.assert_allclose(first + rest, expected, rtol=1e-6)


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
