"""The training step on one device, on several, and calculated by hand."""

import re
from functools import partial

import jax
import numpy as np
import optax
import pytest
from flax import linen as nn

from cnn_arch import settings
from cnn_arch.models import MODELS
from cnn_arch.models.layers import Dense, keep_aux_logits
from cnn_arch.models.resnet import CifarResNet
from cnn_arch.parallel.mesh import make_mesh, put_batch, replicated
from cnn_arch.training import optimizer, step
from cnn_arch.training.program import Program


def make_config(*words):
    config, _ = settings.parse(
        [
            "--config=configs/resnet20.py:folder",
            "--config.data.mean=(123.675, 116.28, 103.53)",  # not counted from images
            "--config.data.std=(58.395, 57.12, 57.375)",
            "--config.batch_size=16",
            "--config.model.name=resnet8",  # compiles in a second
            *words,
        ]
    )
    return config


def make_batch():
    generator = np.random.default_rng(0)
    return {
        "image": generator.integers(0, 256, (16, 32, 32, 3)).astype(np.uint8),
        "label": (np.arange(16) % 10).astype(np.int32),
    }


def train(config, num_devices, num_steps=1):
    """Returns the state and the metrics after some steps on some devices."""
    program = Program(config, 10, make_mesh(num_devices, 1), steps_per_epoch=100)
    state, metrics = program.initialise(), {}
    for _ in range(num_steps):
        batch = put_batch(make_batch(), program.mesh)
        state, metrics = program.train_step(state, batch)
    return jax.device_get(state), jax.device_get(metrics)


def largest_difference(one, other):
    differences = jax.tree.map(lambda a, b: np.abs(a - b).max(), one, other)
    return max(jax.tree.leaves(differences))


@pytest.fixture(scope="module", autouse=True)
def resnet8():
    """A network of 6n + 2 layers, too small for the catalogue."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "resnet8", partial(CifarResNet, 8))
        yield


@pytest.fixture(scope="module")
def on_one_device():
    return train(make_config(), 1)


@pytest.mark.parametrize("num_devices", [4, pytest.param(8, marks=pytest.mark.slow)])
def test_more_devices_give_the_same_state(num_devices, on_one_device):
    state, metrics = train(make_config(), num_devices)
    assert largest_difference(state, on_one_device[0]) < 1e-5
    assert largest_difference(metrics, on_one_device[1]) < 1e-4


@pytest.mark.slow
def test_statistics_per_device_are_averaged():
    """Each device normalises its quarter of the batch; all keep the same statistics."""
    words = "--config.data.train_crop=none", "--config.data.flip=false"
    config = make_config("--config.batch_norm_statistics=per_device", *words)
    state, _ = train(config, 4)
    fresh = Program(config, 10, make_mesh(1, 1)).initialise()
    image = (make_batch()["image"] - np.array(config.data.mean)) / config.data.std

    @jax.jit
    def statistics(quarter):
        apply = partial(CifarResNet(8).apply, train=True, mutable=["batch_stats"])
        return apply(fresh.variables, quarter)[1]["batch_stats"]

    quarters = [statistics(part) for part in np.split(image.astype(np.float32), 4)]
    expected = jax.tree.map(lambda *each: np.mean(each, axis=0), *quarters)
    assert largest_difference(state.batch_stats, expected) < 1e-5
    assert largest_difference(quarters[0], expected) > 1e-3


def test_augmentation_and_dropout_draw_different_numbers():
    keys = [
        tuple(jax.random.key_data(step.step_key(0, number, purpose)).tolist())
        for number in (0, 1)
        for purpose in (step.AUGMENTATION, step.DROPOUT)
    ]
    assert len(set(keys)) == 4


@pytest.mark.slow
def test_the_same_steps_give_the_same_bits():
    one, other = (train(make_config(), 1, num_steps=2)[0] for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_one_step_by_hand():
    """Uses plain gradients, coupled decay and momentum, without mesh and optax."""
    config = make_config(
        "--config.optim.weight_decay=0.01",
        "--config.data.train_crop=none",
        "--config.data.flip=false",
    )
    rate, momentum, decay = 0.1, 0.9, 0.01
    batch = make_batch()
    model = CifarResNet(8)
    image = (batch["image"].astype(np.float32) - config.data.mean) / config.data.std

    def loss(params, batch_stats):
        logits, updates = model.apply(
            {"params": params, "batch_stats": batch_stats},
            image.astype(np.float32),
            train=True,
            mutable=["batch_stats"],
        )
        chosen = jax.nn.log_softmax(logits)[np.arange(16), batch["label"]]
        return -chosen.mean(), updates["batch_stats"]

    sgd = optimizer.make_optimizer(config, optax.constant_schedule(rate))
    state = jax.jit(lambda: step.init_state(config, model, sgd))()
    params, batch_stats = jax.device_get((state.params, state.batch_stats))
    velocity = jax.tree.map(np.zeros_like, params)
    gradient = jax.jit(jax.grad(loss, has_aux=True))
    for _ in range(2):
        grads, batch_stats = jax.device_get(gradient(params, batch_stats))
        velocity = jax.tree.map(
            lambda v, g, w: momentum * v + g + decay * w, velocity, grads, params
        )
        params = jax.tree.map(lambda w, v: w - rate * v, params, velocity)
    trained, metrics = train(config, 1, num_steps=2)
    assert largest_difference(trained.params, params) < 1e-4
    assert largest_difference(trained.batch_stats, batch_stats) < 1e-4
    assert trained.step == 2
    assert set(metrics) == {"loss", "top1_error", "gradient_norm", "learning_rate"}
    np.testing.assert_allclose(metrics["learning_rate"], rate, rtol=1e-6)


class Head(nn.Module):
    """An auxiliary head whose weights are zero: it guesses."""

    @nn.compact
    def __call__(self, x):
        logits = Dense(10, kernel_init=nn.initializers.zeros, name="fc")(x)
        keep_aux_logits(self, logits)


class WithHead(nn.Module):
    """A dense layer and an auxiliary head, both on the image."""

    @nn.compact
    def __call__(self, x, *, train):
        x = x.reshape(len(x), -1)
        if train or self.is_initializing():
            Head(name="aux")(x)
        return Dense(10, kernel_init=nn.initializers.zeros, name="fc")(x)


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_auxiliary_heads_add_their_share_of_the_loss(weight):
    config = make_config(f"--config.aux_weight={weight}")
    mesh, sgd, model = make_mesh(2, 1), optax.sgd(1.0), WithHead()
    state = jax.device_put(step.init_state(config, model, sgd), replicated(mesh))
    schedule = optax.constant_schedule(1.0)
    device_step = step.DeviceStep(config, model, sgd, schedule, mesh)
    state, metrics = jax.jit(device_step.step)(state, put_batch(make_batch(), mesh))
    # Both layers guess: the gradient is 0.1 minus the class's share of the labels.
    shares = np.bincount(make_batch()["label"], minlength=10) / 16
    np.testing.assert_allclose(state.params["fc"]["bias"], shares - 0.1, atol=1e-6)
    moved = state.params["aux"]["fc"]["bias"]
    np.testing.assert_allclose(moved, weight * (shares - 0.1), atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], np.log(10), rtol=1e-6)


def test_class_weights_are_in_the_gradient_and_not_in_the_metrics():
    config = make_config("--config.data.train_crop=none", "--config.data.flip=false")
    mesh, sgd, model = make_mesh(2, 1), optax.sgd(1e-3), WithHead()
    state = jax.device_put(step.init_state(config, model, sgd), replicated(mesh))
    weights, schedule = np.arange(1.0, 11.0), optax.constant_schedule(1.0)
    device_step = step.DeviceStep(
        config, model, sgd, schedule, mesh, class_weights=jax.numpy.array(weights)
    )
    update, batch = jax.jit(device_step.step), put_batch(make_batch(), mesh)
    state, _ = update(state, batch)
    counts = weights * np.bincount(make_batch()["label"], minlength=10)
    expected = 1e-3 * (counts / counts.sum() - 0.1)  # of a guess, as above
    np.testing.assert_allclose(state.params["fc"]["bias"], expected, atol=1e-9)
    fc = jax.device_get(state.params["fc"])
    _, metrics = update(state, batch)
    image = (make_batch()["image"] - np.array(config.data.mean)) / config.data.std
    logits = image.reshape(16, -1) @ fc["kernel"] + fc["bias"]
    log_p = jax.nn.log_softmax(logits)[np.arange(16), make_batch()["label"]]
    assert -log_p.mean() > 0.5
    np.testing.assert_allclose(metrics["loss"], -log_p.mean(), rtol=1e-4)


def test_the_program_for_a_gpu_has_plain_operations():
    """It has XLA's own operations in bfloat16, no callbacks, and donates the state."""
    words = "--config.precision=bfloat16", "--config.batch_size=8"
    config, _ = settings.parse(["--config=configs/alexnet.py:fashion_mnist", *words])
    program = Program(config, 10, make_mesh(1, 1))
    state, batch = program.state_shapes, program.batch_shapes
    text = {
        platform: jax.export.export(program.train_step, platforms=[platform])(
            state, batch
        ).mlir_module()
        for platform in ("cuda", "cpu")
    }
    grouped = re.compile(r"feature_group_count = 2.*bf16")
    convolution = re.compile(r"stablehlo.convolution\(.*-> tensor<\w+x(\w+)>")
    # At least conv2, conv4 and conv5, forward, and their input gradients.
    assert len(grouped.findall(text["cuda"])) >= 6
    assert set(convolution.findall(text["cuda"])) == {"bf16"}
    assert text["cuda"].count("stablehlo.select_and_scatter") == 3  # pooling
    for word in ("optimization_barrier", "infeed", "outfeed", "send", "callback"):
        assert f"stablehlo.{word}" not in text["cuda"]
    assert "xla_python_cpu_callback" not in text["cuda"]
    # Every array of the old state gives its memory to the new state.
    donated = re.findall(r"tf.aliasing_output|jax.buffer_donor", text["cuda"])
    assert len(donated) == len(jax.tree.leaves(state))
    assert "feature_group_count = 2" not in text["cpu"]
    assert "optimization_barrier" in text["cpu"]
