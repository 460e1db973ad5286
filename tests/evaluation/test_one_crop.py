"""Evaluation: every example once, for any batch size and mesh."""

import jax
import numpy as np
import pytest
from flax import linen as nn

from cnn_arch import settings
from cnn_arch.data.sources import ArraySource
from cnn_arch.errors import RunError
from cnn_arch.evaluation.one_crop import OneCrop
from cnn_arch.evaluation.results import Results
from cnn_arch.models import init_variables
from cnn_arch.models.build import build_model
from cnn_arch.models.resnet import CifarResNet
from cnn_arch.parallel.mesh import abstract, make_mesh, replicated
from tests.models.conftest import drawn_variables, forward

NUM_EXAMPLES = 37  # no multiple of a batch size
NOISE = np.random.default_rng(0)
SOURCE = ArraySource(
    NOISE.integers(0, 256, (NUM_EXAMPLES, 28, 28, 1)).astype(np.uint8),
    NOISE.integers(0, 10, NUM_EXAMPLES).astype(np.int32),
    [f"noise {i}" for i in range(NUM_EXAMPLES)],
)


def lenet_config(batch_size):
    words = ["--config=configs/lenet5.py", f"--config.batch_size={batch_size}"]
    return settings.parse(words)[0]


def lenet_images(data):
    """Returns the images of the source as LeNet-5 gets them: [37, 32, 32, 1]."""
    images = np.pad(SOURCE.images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    return (images - np.float32(data.mean)) / np.float32(data.std)


def evaluate_on(num_devices, batch_size, change=lambda weight: weight):
    config = lenet_config(batch_size)
    model = build_model(config, 10)
    variables = init_variables(model, jax.random.key(0), 32, 1)
    variables = jax.tree.map(change, variables)
    evaluator = OneCrop(config, model, make_mesh(num_devices, 1))
    results = evaluator.judge(variables, SOURCE)
    logits = forward(model, variables, lenet_images(config.data))
    return results, np.asarray(logits)


@pytest.mark.parametrize(
    ("num_devices", "batch_size"),
    [(1, 8), (4, 8), (8, 64), (4, 6)],  # 6: rounded up to 8
)
def test_against_numpy(num_devices, batch_size):
    results, logits = evaluate_on(num_devices, batch_size)
    labels = SOURCE.labels
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ranks = np.argsort(-logits, axis=1, kind="stable")
    loss = -np.log(probabilities[np.arange(NUM_EXAMPLES), labels])
    rank = (ranks == labels[:, None]).argmax(axis=1)

    np.testing.assert_array_equal(results.index, np.arange(NUM_EXAMPLES))
    np.testing.assert_array_equal(results.label, labels)
    np.testing.assert_array_equal(results.prediction, ranks[:, 0])
    np.testing.assert_array_equal(results.rank, rank)
    np.testing.assert_allclose(results.loss, loss, rtol=1e-4)
    np.testing.assert_allclose(results.probability, probabilities.max(1), rtol=1e-4)
    summary = results.summary()
    assert summary["num_examples"] == NUM_EXAMPLES
    np.testing.assert_allclose(summary["loss"], loss.mean(), rtol=1e-5)
    wrong = 100 * (ranks[:, 0] != labels).mean()
    np.testing.assert_allclose(summary["top1_error"], wrong)


class MeanColour(nn.Module):
    """A dense layer on the mean of an image of any size."""

    @nn.compact
    def __call__(self, x, *, train):
        return nn.Dense(10)(x.mean(axis=(1, 2)))


def test_images_for_evaluation_may_have_another_size():
    config = settings.derive(lenet_config(8), {"data.eval_size": 48})
    evaluator = OneCrop(config, model := MeanColour(), make_mesh(2, 1))
    assert evaluator.description == {
        "protocol": "whole image, 48 px, pad",
        "scales": [48],
        "num_crops": 1,
    }
    variables = model.init(jax.random.key(0), np.zeros((1, 48, 48, 1)), train=False)
    shapes = jax.eval_shape(lambda: variables)
    evaluator.compile(abstract(shapes, None, make_mesh(2, 1)))
    results = evaluator.judge(variables, SOURCE)
    mean = SOURCE.images.sum(axis=(1, 2)) / 48**2  # zeros around
    mean = (mean - config.data.mean) / config.data.std
    logits = np.asarray(forward(model, variables, mean[:, None, None]))
    np.testing.assert_array_equal(results.prediction, logits.argmax(axis=1))


@pytest.mark.parametrize("num_devices", [1, 4])
def test_batch_norm_is_folded_after_compilation(num_devices):
    config = lenet_config(8)
    mesh = make_mesh(num_devices, 1)
    model = CifarResNet(depth=8)
    variables = drawn_variables(model, 32, 1)
    evaluator = OneCrop(config, model, mesh)
    evaluator.compile(abstract(jax.eval_shape(lambda: variables), model, mesh))
    variables = jax.device_put(variables, replicated(mesh))
    results = evaluator.judge(variables, SOURCE)
    logits = np.asarray(forward(model, variables, lenet_images(config.data)))
    np.testing.assert_array_equal(results.prediction, logits.argmax(axis=1))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(results.probability, probabilities.max(1), rtol=1e-4)


def test_equal_logits_are_not_all_right():
    results, _ = evaluate_on(1, 8, change=np.zeros_like)
    np.testing.assert_array_equal(results.rank, SOURCE.labels)


def test_a_network_that_has_diverged_is_not_judged():
    with pytest.raises(RunError, match="not finite for noise 0"):
        evaluate_on(1, 8, change=lambda weight: weight * np.nan)


def test_summary_is_a_mean_of_examples_not_of_batches():
    results = Results(
        index=np.arange(3),
        label=np.array([0, 1, 2]),
        prediction=np.array([0, 1, 1]),
        probability=np.ones(3, np.float32),
        loss=np.array([1.0, 2.0, 6.0], np.float32),
        rank=np.array([0, 0, 5]),
    )
    assert results.top_error(6) == 0
    assert results.summary() == {
        "num_examples": 3,
        "loss": 3.0,
        "top1_error": pytest.approx(100 / 3),
        "top5_error": pytest.approx(100 / 3),
    }
