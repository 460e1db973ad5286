"""Layers that do not learn: kept bit for bit, with BatchNorm in evaluation mode."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util

from cnn_arch import settings
from cnn_arch.data.normalisation import normalise
from cnn_arch.errors import UsageError
from cnn_arch.models import MODELS
from cnn_arch.models.resnet import CifarResNet
from cnn_arch.parallel.mesh import make_mesh, put_batch
from cnn_arch.training import frozen, optimizer
from cnn_arch.training.program import Program


def flatten_dict(tree) -> dict[tuple[str, ...], Any]:
    flat: Any = traverse_util.flatten_dict(tree)
    return flat


@pytest.fixture(scope="module", autouse=True)
def resnet8():
    """A network of 6n + 2 layers, too small for the catalogue."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "resnet8", partial(CifarResNet, 8))
        yield


def make_program(*words, num_devices=1):
    words = (
        "--config=configs/resnet20.py:folder",
        "--config.batch_size=16",
        "--config.model.name=resnet8",
        "--config.data.train_crop=none",
        "--config.data.flip=false",
        "--config.optim.warmup_epochs=0",
        *words,
    )
    config, _ = settings.parse(words)
    # This test sets how images are normalised, so that none is counted.
    changes = {"data.mean": (100.0,) * 3, "data.std": (50.0,) * 3}
    config = settings.derive(config, changes)
    return Program(config, 10, make_mesh(num_devices, 1), steps_per_epoch=100)


def steps(program, num_steps):
    """Returns the state before and after some steps, and their losses."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (16, 32, 32, 3)).astype(np.uint8)
    batch = {"image": image, "label": (np.arange(16) % 10).astype(np.int32)}
    state = program.initialise()
    flat = flatten_dict(state.batch_stats)  # statistics of an earlier training
    start = {("batch_stats", *path): x + 0.3 for path, x in flat.items()}
    state = program.initialise(start)
    before, losses = jax.device_get(state), []
    for _ in range(num_steps):
        state, metrics = program.train_step(state, put_batch(batch, program.mesh))
        losses.append(float(metrics["loss"]))
    return before, jax.device_get(state), losses, batch


def changed(before, after):
    """Returns the layers of which an array has other bits."""
    old, new = flatten_dict(before), flatten_dict(after)
    return {path[:-1] for path in old if old[path].tobytes() != new[path].tobytes()}


@pytest.mark.parametrize("num_devices", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_frozen_layers_keep_every_bit(num_devices):
    words = "--config.freeze=conv1,bn?,conv2_*", "--config.optim.momentum=0.9"
    before, after, _, _ = steps(make_program(*words, num_devices=num_devices), 2)
    layers = {path[:-1] for path in flatten_dict(before.params)}
    kept = {path for path in layers if path[0] in ("conv1", "bn1", "conv2_1")}
    assert 5 <= len(kept) < len(layers)
    assert changed(before.params, after.params) == layers - kept
    norms = {path[:-1] for path in flatten_dict(before.batch_stats)}
    assert changed(before.batch_stats, after.batch_stats) == norms - kept
    assert before.average is after.average is None


@pytest.mark.slow
def test_the_loss_is_that_of_evaluation_if_only_the_head_learns():
    """BatchNorm uses its running statistics; the head makes SGD's first step."""
    program = make_program("--config.freeze=conv*,bn1", "--config.optim.weight_decay=0")
    before, after, losses, batch = steps(program, 1)
    image = normalise(batch["image"], program.config.data)

    def loss_of(params):
        variables = {"params": params, "batch_stats": before.batch_stats}
        logits = program.model.apply(variables, image, train=False)
        loss = optax.softmax_cross_entropy_with_integer_labels
        return loss(logits, batch["label"]).mean()

    loss, grads = jax.value_and_grad(loss_of)(before.params)
    np.testing.assert_allclose(losses[0], loss, rtol=1e-5)
    rate = float(program.schedule(0))
    for name, array in after.params["fc"].items():
        expected = before.params["fc"][name] - rate * grads["fc"][name]
        np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-6)


def test_a_smaller_rate_for_the_body_leaves_the_head_its_own():
    params = {"conv": {"kernel": jnp.ones(2)}, "fc": {"kernel": jnp.ones(2)}}
    words = ["--config=configs/lenet5.py", "--config.optim.body_rate=0.1"]
    config, _ = settings.parse(words)
    rule = optimizer.make_optimizer(config, lambda _: 0.5, head={("fc",)})
    updates, _ = rule.update(params, rule.init(params), params)
    decayed = 1 + config.optim.weight_decay
    np.testing.assert_allclose(updates["conv"]["kernel"], -0.05 * decayed, rtol=1e-6)
    np.testing.assert_allclose(updates["fc"]["kernel"], -0.5 * decayed, rtol=1e-6)


def test_what_does_not_learn_is_said():
    words = "--config.freeze=conv*,fc6", "--config.freeze_epochs=3"
    config, _ = settings.parse(["--config=configs/vgg16.py", *words])
    said = "the head alone for 3 epochs; frozen: conv* fc6"
    assert frozen.describe(config) == said
    assert not frozen.describe(settings.parse(["--config=configs/vgg16.py"])[0])


def test_the_layer_that_computes_the_logits_is_the_head():
    assert make_program("--config.optim.body_rate=0.1").head == {("fc",)}


def test_the_head_learns_first_and_then_all():
    """The second stage begins as if the first had not trained the body."""
    words = "--config.freeze_epochs=0.01", "--config.optim.momentum=0.9"
    program = make_program(*words)
    assert [program.step_at(i) is program.head_step for i in range(3)] == [1, 0, 0]
    before = program.initialise()
    start = jax.device_get(before)
    batch = {
        "image": np.zeros((16, 32, 32, 3), np.uint8),
        "label": (np.arange(16) % 10).astype(np.int32),
    }
    after, _ = program.step_at(0)(before, put_batch(batch, program.mesh))
    after = jax.device_get(after)
    assert changed(start.params, after.params) == {("fc",)}
    assert not changed(start.batch_stats, after.batch_stats)
    found = jax.tree.leaves(after.opt_state, is_leaf=is_trace)
    (momentum,) = filter(is_trace, found)
    moved = {path for path, x in flatten_dict(momentum.trace).items() if x.any()}
    assert {path[:-1] for path in moved} == {("fc",)}


def is_trace(node):
    return isinstance(node, optax.TraceState)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("conv2_7", "no such layer; did you mean conv2_1"),
        ("*", "no layer is left to train"),
    ],
)
def test_a_pattern_that_cannot_be_is_named(pattern, message):
    with pytest.raises(UsageError, match=f"^--config.freeze={pattern[:-1]}.*{message}"):
        make_program(f"--config.freeze={pattern}")


def test_a_loop_cannot_have_a_frozen_block():
    with pytest.raises(UsageError, match=r"^--config.scan_blocks=true: .*freeze"):
        make_program("--config.freeze=conv1", "--config.scan_blocks=true")


def test_what_is_kept_in_the_state_of_an_optimizer():
    """Momentum of frozen layers must not gather decay for a later stage."""
    params = {"a": {"kernel": jnp.ones(2)}, "b": {"kernel": jnp.ones(2)}}
    rule = optax.chain(optax.add_decayed_weights(0.1), optax.trace(0.9))
    old = rule.init(params)
    _, new = rule.update(params, old, params)
    kept = frozen.keep({("a",)}, new, old)[1].trace
    np.testing.assert_array_equal(kept["a"]["kernel"], 0.0)
    np.testing.assert_allclose(kept["b"]["kernel"], 1.1)
