"""A batch in parts, compared with the whole batch and with parts on devices."""

from functools import partial

import jax
import numpy as np
import pytest
from flax import linen as nn

from cnn_arch import settings
from cnn_arch.models import MODELS
from cnn_arch.models.layers import Conv, Dense, Dropout, batch_norm, relu
from cnn_arch.parallel.mesh import make_mesh, put_batch
from cnn_arch.training.advice import at_the_start
from cnn_arch.training.program import Program

BATCH = 32
MIXED = "--config.data.mixup=0.4", "--config.data.cutmix=1.0"
PLAIN = "--config.data.train_crop=none", "--config.data.flip=false"


class Small(nn.Module):
    """A convolution, dropout or BatchNorm, and a dense layer."""

    num_classes: int
    dtype: type = np.float32
    has_batch_norm: bool = False
    batch_norm_axis: str | None = None

    @nn.compact
    def __call__(self, x, *, train):
        x = Conv(8, 3, stride=2, padding=1, activation=relu, name="conv1")(x)
        if self.has_batch_norm:
            norm = batch_norm(train=train, axis=self.batch_norm_axis, dtype=self.dtype)
            x = norm(name="bn1")(x)
        else:
            x = Dropout(0.5, deterministic=not train, name="drop1")(x)
        return Dense(self.num_classes, name="fc")(x.mean(axis=(1, 2)))


@pytest.fixture(scope="module", autouse=True)
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "small", Small)
        patch.setitem(MODELS, "small_bn", partial(Small, has_batch_norm=True))
        yield


def make_program(*words, num_devices=1):
    config, _ = settings.parse(
        [
            "--config=configs/base.py:folder",
            "--config.model.name=small",
            "--config.data.image_size=16",
            "--config.data.train_crop=pad_crop",
            f"--config.batch_size={BATCH}",
            *words,
        ]
    )
    return Program(config, 10, make_mesh(num_devices, 1), steps_per_epoch=10)


def with_batch_norm(*words, num_devices=1):
    words = *PLAIN, *words, "--config.model.name=small_bn"
    return make_program(*words, num_devices=num_devices)


def train(program, order=None):
    """Returns the state and the metrics after two steps, with the rows in an order."""
    order = np.arange(BATCH) if order is None else order
    generator = np.random.default_rng(0)
    state, metrics = program.initialise(), {}
    for _ in range(2):
        image = generator.integers(0, 256, (BATCH, 16, 16, 3)).astype(np.uint8)
        label = generator.integers(0, 10, BATCH).astype(np.int32)
        batch = {"image": image[order], "label": label[order]}
        state, metrics = program.train_step(state, put_batch(batch, program.mesh))
    return jax.device_get(state), jax.device_get(metrics)


def assert_close(one, other, rounding):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=rounding), one, other
    )


@pytest.mark.parametrize(
    ("parts", "num_devices", "words"),
    [
        (2, 4, ("--config.class_weights=1,2,3,4,5,6,7,8,9,10",)),
        pytest.param(2, 4, MIXED, marks=pytest.mark.slow),
        pytest.param(8, 1, MIXED, marks=pytest.mark.slow),
    ],
)
def test_parts_of_a_batch_give_the_steps_of_the_whole(parts, num_devices, words):
    """Images, targets, weights and dropped units are those of the batch."""
    state, metrics = train(make_program(*words))
    words = *words, f"--config.accumulate={parts}"
    parted, metrics_of_parts = train(make_program(*words, num_devices=num_devices))
    assert_close(parted, state, 1e-6)
    assert_close(metrics_of_parts, metrics, 1e-5)
    # A number of images, so there is no rounding.
    assert metrics_of_parts["top1_error"] == metrics["top1_error"]


@pytest.mark.slow
def test_batch_norm_sees_parts_as_it_sees_parts_on_devices():
    in_parts, _ = train(with_batch_norm("--config.accumulate=4"))
    per_device = with_batch_norm(
        "--config.batch_norm_statistics=per_device", num_devices=4
    )
    # Part i has the rows i, i + 4, i + 8 and so on; a device has consecutive rows.
    order = np.arange(BATCH).reshape(-1, 4).T.ravel()
    on_devices, _ = train(per_device, order)
    assert_close(in_parts, on_devices, 1e-5)


@pytest.mark.slow
def test_batch_norm_sees_the_same_parts_on_any_devices():
    words = "--config.accumulate=4"
    one, four = (train(with_batch_norm(words, num_devices=n))[0] for n in (1, 4))
    assert_close(one, four, 1e-5)
    whole, _ = train(with_batch_norm())
    with pytest.raises(AssertionError):
        assert_close(one, whole, 1e-5)


def test_a_run_says_what_batch_norm_sees():
    (line,) = at_the_start(with_batch_norm("--config.accumulate=4"))
    assert "parts of 8 images, not of the whole batch of 32" in line
    assert not at_the_start(with_batch_norm())
    assert not at_the_start(make_program("--config.accumulate=4"))


@pytest.mark.slow
def test_parts_need_less_memory():
    sizes = []
    for words in (), ("--config.accumulate=8",):
        compiled = make_program(*words).trace().lower().compile()
        sizes.append(compiled.memory_analysis().temp_size_in_bytes)
    assert sizes[1] < 0.5 * sizes[0]
