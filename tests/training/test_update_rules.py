"""Update rules, compared with a few lines of NumPy that follow the papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_arch import settings
from cnn_arch.training import optimizer, update_rules

NUM_STEPS = 12


def make_config(**optim):
    values = {"weight_decay": 0.0, "momentum_form": "pytorch", **optim}
    words = [f"--config.optim.{name}={value}" for name, value in values.items()]
    config, _ = settings.parse(["--config=configs/resnet20.py:folder", *words])
    return config


def rate(step):
    """A warm-up of three steps, then 0.1, from step 7 on 0.01."""
    return jnp.where(step < 3, 0.1 * (step + 1) / 4, jnp.where(step < 7, 0.1, 0.01))


def gradients():
    generator = np.random.default_rng(0)
    return generator.normal(size=(NUM_STEPS, 5)).astype(np.float32)


def train(config, start=None, steps=range(NUM_STEPS)):
    """Returns the parameters after each step, and the state of the optimizer."""
    rule = optimizer.make_optimizer(config, rate)
    params = {"fc": {"kernel": jnp.ones(5), "bias": jnp.ones(5)}}
    params, state = start or (params, rule.init(params))
    history = []
    for step in steps:
        grad = jnp.array(gradients()[step])
        grads = {"fc": {"kernel": grad, "bias": grad}}
        updates, state = jax.jit(rule.update)(grads, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        history.append(jax.tree.map(np.asarray, params["fc"]))
    return history, (params, state)


def kernels(history):
    return np.array([each["kernel"] for each in history])


def by_hand(step_of):
    """Returns the parameters after each step of a rule: (w, g, rate, memory) -> w."""
    w, memory, history = np.ones(5), {}, []
    for step, g in enumerate(gradients()):
        w = step_of(w, g.astype(float), float(rate(step)), memory)
        history.append(w)
    return np.array(history)


def caffe(w, g, rate, memory):
    memory["v"] = 0.9 * memory.get("v", 0) + rate * (g + 0.02 * w)
    return w - memory["v"]


def pytorch(w, g, rate, memory):
    memory["v"] = 0.9 * memory.get("v", 0) + (g + 0.02 * w)
    return w - rate * memory["v"]


def nesterov(w, g, rate, memory):
    g = g + 0.02 * w
    memory["v"] = 0.9 * memory.get("v", 0) + g
    return w - rate * (g + 0.9 * memory["v"])


def decoupled(w, g, rate, memory):
    memory["v"] = 0.9 * memory.get("v", 0) + g
    return w - rate * (memory["v"] + 0.02 * w)


def tensorflow_rmsprop(w, g, rate, memory):
    g = g + 0.02 * w
    memory["s"] = 0.9 * memory.get("s", np.ones(5)) + 0.1 * g**2
    memory["v"] = 0.9 * memory.get("v", 0) + rate * g / np.sqrt(memory["s"] + 1.0)
    return w - memory["v"]


def pytorch_rmsprop(w, g, rate, memory):
    g = g + 0.02 * w
    memory["s"] = 0.9 * memory.get("s", 0) + 0.1 * g**2
    memory["v"] = 0.9 * memory.get("v", 0) + g / (np.sqrt(memory["s"]) + 1.0)
    return w - rate * memory["v"]


def adamw(w, g, rate, memory):
    memory["t"] = memory.get("t", 0) + 1
    memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
    memory["s"] = 0.99 * memory.get("s", 0) + 0.01 * g**2
    first = memory["m"] / (1 - 0.9 ** memory["t"])
    second = memory["s"] / (1 - 0.99 ** memory["t"])
    return w - rate * (first / (np.sqrt(second) + 1e-6) + 0.02 * w)


def lamb(w, g, rate, memory):
    step = w - adamw(w, g, 1.0, memory)
    return w - rate * np.linalg.norm(w) / np.linalg.norm(step) * step


RULES = {
    caffe: {"momentum_form": "caffe"},
    pytorch: {},
    nesterov: {"nesterov": True},
    decoupled: {"decay_form": "decoupled"},
    tensorflow_rmsprop: {
        "name": "rmsprop",
        "momentum_form": "caffe",
        "beta2": 0.9,
        "epsilon": 1.0,
    },
    pytorch_rmsprop: {
        "name": "rmsprop",
        "beta2": 0.9,
        "epsilon": 1.0,
        "epsilon_in_root": False,
    },
    adamw: {
        "name": "adamw",
        "beta2": 0.99,
        "epsilon": 1e-6,
        "decay_form": "decoupled",
    },
    lamb: {"name": "lamb", "beta2": 0.99, "epsilon": 1e-6, "decay_form": "decoupled"},
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_equals_the_one_by_hand_across_changes_of_the_rate(rule):
    history, _ = train(make_config(weight_decay=0.02, **RULES[rule]))
    np.testing.assert_allclose(kernels(history), by_hand(rule), rtol=2e-5, atol=1e-6)


def test_forms_of_momentum_after_a_fall():
    """Gradient 1, momentum 0.9, rate 0.1, then 0.01 from the fourth step on."""
    steps = {}
    for form in ("caffe", "pytorch"):
        rule = optimizer.make_optimizer(
            make_config(momentum_form=form), lambda step: jnp.where(step < 3, 0.1, 0.01)
        )
        state = rule.init({"kernel": jnp.zeros(())})
        for _ in range(4):
            updates, state = rule.update({"kernel": jnp.ones(())}, state)
        steps[form] = float(updates["kernel"])
    # 0.9 (0.1 + 0.09 + 0.081) + 0.01, and 0.01 (1 + 0.9 + 0.81 + 0.729)
    assert steps["caffe"] == pytest.approx(-0.2539)
    assert steps["pytorch"] == pytest.approx(-0.03439)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_state_continues(rule):
    """The state that a checkpoint saves is all that a rule remembers."""
    config = make_config(weight_decay=0.02, average="ema", **RULES[rule])
    whole, _ = train(config)
    _, middle = train(config, steps=range(5))
    saved = jax.tree.map(lambda leaf: jnp.array(np.asarray(leaf)), middle)
    rest, _ = train(config, start=saved, steps=range(5, NUM_STEPS))
    np.testing.assert_array_equal(kernels(whole)[5:], kernels(rest))


def test_caffe_s_biases_learn_twice_as_fast_and_do_not_decay():
    config = make_config(
        momentum_form="caffe", weight_decay=0.02, decay="kernels", bias_rate=2.0
    )
    history, _ = train(config)
    expected = by_hand(
        lambda w, g, rate, memory: caffe(w, g - 0.02 * w, 2 * rate, memory)
    )
    biases = [each["bias"] for each in history]
    np.testing.assert_allclose(biases, expected, rtol=2e-5, atol=1e-6)


def test_clip_value_limits_each_element():
    history, _ = train(make_config(clip_value=0.5))
    expected = by_hand(
        lambda w, g, rate, memory: pytorch(
            w, np.clip(g, -0.5, 0.5) - 0.02 * w, rate, memory
        )
    )
    np.testing.assert_allclose(kernels(history), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("average", ["ema", "polyak"])
def test_average_weighs_the_parameters_after_each_step(average):
    optim = make_config(average=average, average_decay=0.8).optim
    history = np.random.default_rng(0).normal(size=(NUM_STEPS, 3, 2))
    weights = 0.8 ** np.arange(NUM_STEPS)[::-1]
    if average == "polyak":
        weights[:] = 1
    found = update_rules.initial_average(optim, {"kernel": jnp.ones((3, 2))})
    for count, kernel in enumerate(history, 1):
        found = update_rules.next_average(
            optim, found, {"kernel": jnp.asarray(kernel)}, jnp.int32(count)
        )
    assert found
    expected = np.average(history, axis=0, weights=weights)
    np.testing.assert_allclose(found["kernel"], expected, rtol=1e-5, atol=1e-6)


def test_no_average_by_default():
    params = {"kernel": jnp.ones(3)}
    assert update_rules.initial_average(make_config().optim, params) is None


def test_limit_filters_keeps_the_root_mean_square_of_each_filter():
    generator = np.random.default_rng(0)
    kernel = 0.2 * generator.normal(size=(3, 3, 4, 6)) * np.linspace(0.1, 2, 6)
    params = {"conv": {"kernel": jnp.array(kernel), "bias": jnp.ones(6)}}
    change = jax.tree.map(lambda leaf: 0.01 * jnp.ones_like(leaf), params)
    limit = update_rules.limit_filters(0.1)
    updates, _ = limit.update(change, limit.init(params), params)
    after = np.asarray(params["conv"]["kernel"] + updates["conv"]["kernel"])
    for i in range(6):
        expected = kernel[..., i] + 0.01
        rms = np.sqrt((expected**2).mean())
        expected *= min(1, 0.1 / rms)
        np.testing.assert_allclose(after[..., i], expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(updates["conv"]["bias"], change["conv"]["bias"])
