"""Several views of each image: equal to single passes, whatever the chunks."""

import dataclasses
from typing import Any

import cv2
import jax
import numpy as np
import pytest
from PIL import Image

from cnn_arch import settings
from cnn_arch.data import normalisation
from cnn_arch.data.bundled import ArraySource
from cnn_arch.data.folder import FileSource
from cnn_arch.errors import RunError, UsageError
from cnn_arch.evaluation import protocols
from cnn_arch.evaluation.network import Network
from cnn_arch.evaluation.one_crop import OneCrop
from cnn_arch.models import create_model
from cnn_arch.parallel.mesh import make_mesh
from cnn_arch.screen import Screen
from tests.models.conftest import drawn_variables, mark_slow

NUM_EXAMPLES = 13
NOISE = np.random.default_rng(0)
LABELS = NOISE.integers(0, 10, NUM_EXAMPLES).astype(np.int32)
SOURCE = ArraySource(
    NOISE.integers(0, 256, (NUM_EXAMPLES, 40, 48, 3)).astype(np.uint8),
    LABELS,
    [f"noise {i}" for i in range(NUM_EXAMPLES)],
)
QUIET = Screen(quiet=True)


def make_config(*words, recipe="cuda_convnet:folder", batch_size=16):
    words = [f"--config={recipe}", f"--config.batch_size={batch_size}", *words]
    config = settings.parse(words)[0]
    return settings.derive(config, {"data.skip_broken": True})


@pytest.fixture(scope="module")
def network():
    """Krizhevsky's network for CIFAR-10: 24 px out of 32."""
    model = create_model("cuda_convnet", 10)
    variables = drawn_variables(model, 24, 3)
    return Network(model, variables, tuple("0123456789"), {}, make_config())


def evaluator_of(network, num_devices=1, **given):
    protocol = protocols.of_options(given, network.config)
    return protocols.make_evaluator(protocol, network, make_mesh(num_devices, 1), QUIET)


def ten_crops(image):
    """Cuts and normalises the ten crops of an image, without the code under test."""
    picture = Image.fromarray(image).resize((38, 32), Image.Resampling.BILINEAR)
    square = np.asarray(picture)[:, 3:35]
    corners = [(0, 0), (0, 8), (8, 0), (8, 8), (4, 4)]
    crops = [square[y : y + 24, x : x + 24] for y, x in corners]
    return np.stack([*crops, *(crop[:, ::-1] for crop in crops)]).astype(np.float32)


@pytest.mark.parametrize(
    "combine", ["softmax", pytest.param("logits", marks=pytest.mark.slow)]
)
def test_ten_crop_equals_ten_forward_passes(network, combine):
    data = network.config.data
    apply = jax.jit(
        lambda crop: network.model.apply(network.variables, crop, train=False)
    )
    scores = np.empty((NUM_EXAMPLES, 10))
    for i, image in enumerate(SOURCE.images):
        crops = (ten_crops(image) - np.float32(data.mean)) / np.float32(data.std)
        passes = np.float64(np.concatenate([apply(crop[None]) for crop in crops]))
        if combine == "softmax":
            passes = np.exp(passes) / np.exp(passes).sum(axis=1, keepdims=True)
        scores[i] = passes.mean(axis=0)
    if combine == "logits":
        scores = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)

    evaluator = evaluator_of(network, protocol="ten_crop", combine=combine)
    results = evaluator.judge(network.variables, SOURCE)
    np.testing.assert_array_equal(results.index, np.arange(NUM_EXAMPLES))
    np.testing.assert_array_equal(results.label, LABELS)
    np.testing.assert_array_equal(results.prediction, scores.argmax(axis=1))
    np.testing.assert_allclose(results.probability, scores.max(axis=1), rtol=1e-4)
    loss = -np.log(scores[np.arange(NUM_EXAMPLES), LABELS])
    np.testing.assert_allclose(results.loss, loss, rtol=1e-4)
    assert evaluator.description["num_crops"] == 10


@pytest.mark.parametrize("protocol", mark_slow(["googlenet_144", "dense"], ["dense"]))
def test_the_devices_the_batch_and_skipped_images_change_nothing(protocol, tmp_path):
    """LeNet-5 on pictures of three shapes, of which one is broken."""
    shapes = [(40, 40), (40, 80), (110, 50)]
    files = [f"{i}.png" for i in range(11)]
    for i, name in enumerate(files):
        image = NOISE.integers(0, 256, (*shapes[i % 3], 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / name), image)
    (tmp_path / files[4]).write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    source = FileSource(str(tmp_path), files, LABELS[:11], np.zeros((11, 3), np.int64))
    model = create_model("lenet5")
    variables = drawn_variables(model, 32, 3)
    found = []
    for num_devices, batch_size in ((1, 3), (8, 64)):
        words = ("--config.data.eval_resize=36",)
        config = make_config(*words, recipe="lenet5:folder", batch_size=batch_size)
        network = Network(model, variables, tuple("0123456789"), {}, config)
        evaluator = evaluator_of(network, num_devices, protocol=protocol)
        results = evaluator.judge(variables, source)
        assert results.skipped == (source.name(4),)
        assert results.index.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10]
        np.testing.assert_array_equal(results.label, LABELS[results.index])
        found.append(results)
    np.testing.assert_allclose(found[0].loss, found[1].loss, rtol=1e-4)
    np.testing.assert_array_equal(found[0].prediction, found[1].prediction)


def test_dense_at_the_size_of_training_equals_one_crop():
    config = make_config("--config.data.eval_resize=32", recipe="lenet5:folder")
    config = settings.derive(config, {"data.flip": False})
    model = create_model("lenet5", 10)
    variables = drawn_variables(model, 32, 3)
    network = Network(model, variables, tuple("0123456789"), {}, config)
    square = ArraySource(SOURCE.images[:3, :, :40], LABELS[:3], SOURCE.names[:3])
    dense = evaluator_of(network, protocol="dense")
    assert dense.description["num_crops"] == 1
    one = OneCrop(config, model, make_mesh(1, 1))
    first, second = (each.judge(variables, square) for each in (one, dense))
    np.testing.assert_allclose(first.loss, second.loss, rtol=1e-5)


def test_no_chunk_has_more_views_than_a_training_step(network):
    network = dataclasses.replace(network, config=make_config(batch_size=7))
    evaluator: Any = evaluator_of(network, protocol="googlenet_144")
    seen = []
    chunk = evaluator._chunk

    def note(variables, views):
        seen.append(views.shape[:2])
        return chunk(variables, views)

    evaluator._chunk = note
    evaluator.judge(network.variables, SOURCE.take(np.arange(2)))
    assert seen == [(1, 6)] * 48


def test_sure_mistakes_have_a_finite_loss(network):
    """Probabilities below the smallest float32 number, of all views."""
    large = jax.tree.map(lambda leaf: 30 * leaf, network.variables)
    results = evaluator_of(network, protocol="ten_crop").judge(large, SOURCE)
    assert np.isfinite(results.loss).all() and results.loss.max() > 200
    with pytest.raises(RunError, match="not finite for noise 0"):
        nan = jax.tree.map(lambda leaf: np.nan * leaf, network.variables)
        evaluator_of(network, protocol="ten_crop").judge(nan, SOURCE)


def test_whole_images_have_the_channel_means_of_a_mean_image(network, capsys):
    mean = NOISE.uniform(0, 255, (32, 32, 3)).astype(np.float32)
    arrays = normalisation.Arrays(mean, np.zeros((0, 0), np.float32))
    changes = {"data.normalisation": "mean_image"}
    changes["data.arrays"] = normalisation.remember(arrays)
    model = create_model("resnet20")
    config = settings.derive(make_config(recipe="resnet20:folder"), changes)
    network = Network(model, {}, tuple("0123456789"), {}, config)
    screen = Screen()
    protocol = protocols.Protocol("dense", (40,))
    made: Any = protocols.make_evaluator(protocol, network, make_mesh(1, 1), screen)
    assert "mean image's mean of each channel" in capsys.readouterr().out
    found = made._config.data
    np.testing.assert_allclose(found.mean, mean.reshape(-1, 3).mean(axis=0), rtol=1e-5)
    assert found.std == (1.0, 1.0, 1.0)
    config = settings.derive(config, {"data.normalisation": "gcn_zca"})
    network = Network(model, {}, tuple("0123456789"), {}, config)
    with pytest.raises(UsageError, match="gcn_zca whitens images of 32 px only"):
        protocols.make_evaluator(protocol, network, make_mesh(1, 1), screen)
