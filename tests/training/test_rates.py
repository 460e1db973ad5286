"""Learning rates as functions of the step, compared with calculations by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_arch import settings
from cnn_arch.errors import UsageError
from cnn_arch.parallel.launcher import ALONE
from cnn_arch.screen import Screen
from cnn_arch.training import optimizer, request, schedules
from tests.training.test_optimizer import make_config


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
    config = make_config(*words)
    every = jax.jit(jax.vmap(schedules.make_schedule(config, 1201)))
    falls = np.diff(every(np.arange(100 * 1201))) < 0
    assert list(np.flatnonzero(falls) + 1) == list(range(2402, 120_000, 2402))
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
    words = ["--config=alexnet:folder", "--config.optim.schedule=plateau"]
    config, _ = settings.parse(words)
    picture = tmp_path / "rate.png"
    given = {"show_schedule": str(picture)}
    assert request.show(given, config, words, Screen(), ALONE) == 0
    shown = capsys.readouterr().out
    assert "falls depend on the validation errors" in shown
    assert "shortened from 90 epochs, batch 128, initial bias 1.0: " in shown
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
