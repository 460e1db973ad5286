"""BatchNorm's statistics over the training images, compared with NumPy's."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from flax import linen as nn

from cnn_arch import settings
from cnn_arch.data.bundled import ArraySource
from cnn_arch.errors import UsageError
from cnn_arch.evaluation import exact_statistics
from cnn_arch.models import MODELS
from cnn_arch.models.layers import Conv, Dense, batch_norm
from cnn_arch.parallel.mesh import make_mesh
from cnn_arch.run_directory import Run
from cnn_arch.screen import Screen
from cnn_arch.training.program import Program

IMAGES = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3)).astype(np.uint8)
IMAGES[:8] //= 4  # batches differ


class Normed(nn.Module):
    """BatchNorm on the images, then on a convolution; another's BatchNorm."""

    num_classes: int
    dtype: type = np.float32
    batch_norm_axis: str | None = None

    @nn.compact
    def __call__(self, x, *, train):
        norm = batch_norm(train=train, axis=self.batch_norm_axis, dtype=self.dtype)
        x = norm(name="bn1")(x)
        x = norm(name="bn2")(Conv(4, 3, name="conv2")(x))
        x = nn.BatchNorm(use_running_average=not train, name="others")(x)
        return Dense(self.num_classes, name="fc")(x.mean(axis=(1, 2)))


@pytest.fixture(scope="module", autouse=True)
def normed():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "normed", Normed)
        yield


@pytest.fixture
def measured(tmp_path, capsys):
    """Returns a function that measures, and returns what it says too."""

    def measure(*words, num_devices=1):
        config, _ = settings.parse(
            [
                "--config=configs/base.py:folder",
                "--config.model.name=normed",
                "--config.data.image_size=8",
                "--config.data.train_crop=none",
                "--config.data.flip=false",
                "--config.data.in_memory=true",
                "--config.data.mean=(100.0, 110.0, 120.0)",
                "--config.data.std=(50.0, 60.0, 70.0)",
                "--config.batch_size=8",
                "--config.batch_norm_images=24",
                *words,
            ]
        )
        program = Program(config, 2, make_mesh(num_devices, 1), steps_per_epoch=3)
        source = ArraySource(IMAGES, np.arange(24, dtype=np.int32) % 2, 24 * ["image"])
        dataset: Any = SimpleNamespace(splits={"train": source}, check=lambda: None)
        variables = jax.device_get(program.initialise().variables)
        path = exact_statistics.path_of(tmp_path, 3)
        answer = exact_statistics.measure(program, dataset, variables, path, Screen())
        return config, path, *answer, capsys.readouterr()

    return measure


@pytest.mark.parametrize(
    ("num_devices", "words"),
    [
        (4, ["--config.batch_norm_statistics=per_device"]),
        pytest.param(1, [], marks=pytest.mark.slow),
        pytest.param(2, ["--config.accumulate=2"], marks=pytest.mark.slow),
    ],
)
def test_the_statistics_are_those_of_all_images(measured, num_devices, words):
    config, _, variables, facts, said = measured(*words, num_devices=num_devices)
    assert facts == {"batch_norm_images": 24}
    pixels = (IMAGES - np.array(config.data.mean)) / config.data.std
    found = variables["batch_stats"]["bn1"]
    np.testing.assert_allclose(found["mean"], pixels.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(found["var"], pixels.var((0, 1, 2)), rtol=1e-5)
    # A layer that cannot be measured keeps what it had, and the user hears of it.
    np.testing.assert_array_equal(variables["batch_stats"]["others"]["mean"], 0)
    assert "others: keeps its running averages" in said.out + said.err


def test_any_devices_measure_the_same(measured):
    one, two = (measured(num_devices=n)[2]["batch_stats"] for n in (1, 2))
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), one, two)
    assert np.abs(one["bn2"]["mean"]).max() > 1e-3  # of random weights


def test_a_frozen_layer_keeps_its_statistics(measured):
    """It is in evaluation mode, so that the next layer sees what it will see."""
    _, _, variables, _, said = measured('--config.freeze=("bn1",)')
    np.testing.assert_array_equal(variables["batch_stats"]["bn1"]["mean"], 0)
    np.testing.assert_array_equal(variables["batch_stats"]["bn1"]["var"], 1)
    assert np.abs(variables["batch_stats"]["bn2"]["mean"]).max() > 1e-3
    assert "bn1: keeps" not in said.out + said.err  # as the user wants it


def test_the_file_is_what_was_measured(measured, capsys):
    config, path, variables, facts, _ = measured()
    old = jax.tree.map(np.zeros_like, variables)
    run = Run(path.parents[1], Screen())
    read, read_facts = exact_statistics.read(run, config, old, path)
    assert read_facts == facts
    jax.tree.map(
        np.testing.assert_array_equal, read["batch_stats"], variables["batch_stats"]
    )
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UsageError, match=r"batch_norm_3\.npz: .*delete it and repeat"):
        exact_statistics.read(run, config, old, path)
    path.unlink()
    read, facts = exact_statistics.read(run, config, old, path)
    assert facts == {"batch_norm_images": 0} and read is old
    captured = capsys.readouterr()
    assert "BatchNorm has running averages" in captured.out + captured.err


def test_batches_are_combined_as_one():
    generator = np.random.default_rng(1)
    parts = generator.normal(5, 2, (6, 50, 3)) + generator.normal(0, 1, (6, 1, 3))
    batches = [{"bn": {"mean": x.mean(0), "var": x.var(0)}} for x in parts]
    exact = exact_statistics.combine(batches)
    every = parts.reshape(-1, 3)
    np.testing.assert_allclose(exact["bn", "mean"], every.mean(0), rtol=1e-6)
    np.testing.assert_allclose(exact["bn", "var"], every.var(0), rtol=1e-6)
