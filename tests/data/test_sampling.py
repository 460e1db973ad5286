"""Which images a step trains on, where that is not a plain shuffle."""

import numpy as np
import pytest

from cnn_arch.data.bundled import ArraySource
from cnn_arch.data.loading import TrainBatches

CLASSES = np.array([0] * 9 + [1] * 2 + [7], np.int32)  # between them: no image


@pytest.fixture
def batches(data_config):
    """Returns a function that makes batches of 12 images; their pixels are numbers."""
    images = np.arange(12, dtype=np.uint8)[:, None, None, None]
    images = np.broadcast_to(images, (12, 16, 16, 3))
    source = ArraySource(images, CLASSES, [str(i) for i in range(12)])

    def make(seed=0, share=(0, 1), **fields):
        data = data_config(train_crop="none", flip=False, in_memory=True, **fields)
        return TrainBatches(source, data, seed=seed, batch_size=4, share=share)

    return make


def drawn(batches, steps):
    """Returns the numbers of the images of some steps, [steps, rows]."""
    made = [batches.batch(step) for step in steps]
    numbers = np.array([batch["image"][:, 0, 0, 0] for batch in made])
    labels = np.array([batch["label"] for batch in made])
    np.testing.assert_array_equal(CLASSES[numbers], labels)
    return numbers


def test_balanced_classes_are_drawn_equally_often(batches):
    """Twelve images of three classes, 9, 2 and 1: counted by hand."""
    balanced = batches(sampling="balanced")
    assert balanced.steps_per_epoch == 3  # as without
    order = drawn(balanced, range(27)).ravel()
    rounds = CLASSES[order].reshape(36, 3)
    assert (np.sort(rounds, axis=1) == [0, 1, 7]).all()
    assert len(np.unique(rounds, axis=0)) > 1
    passes = order[CLASSES[order] == 0].reshape(4, 9)
    assert (np.sort(passes, axis=1) == np.arange(9)).all()
    assert len(np.unique(passes, axis=0)) == 4
    pairs = order[CLASSES[order] == 1].reshape(18, 2)
    assert (np.sort(pairs, axis=1) == [9, 10]).all()


def test_balanced_draws_depend_on_seed_and_step_alone(batches):
    whole = drawn(batches(sampling="balanced"), range(9))
    continued = drawn(batches(sampling="balanced"), range(5, 9))
    np.testing.assert_array_equal(continued, whole[5:])
    parts = [batches(sampling="balanced", share=(i, 2)) for i in range(2)]
    joined = np.concatenate([drawn(part, range(9)) for part in parts], axis=1)
    np.testing.assert_array_equal(joined, whole)
    assert (drawn(batches(1, sampling="balanced"), range(9)) != whole).any()
