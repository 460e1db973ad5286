"""Which images a step trains on, where that is not a plain shuffle."""

import numpy as np
import pytest

from cnn_arch.data.bundled import ArraySource
from cnn_arch.data.loading import TrainBatches
from cnn_arch.errors import UsageError

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


@pytest.mark.parametrize("sampling", ["shuffle", "balanced"])
def test_repeated_images_are_a_fourth_of_those_of_an_epoch(batches, sampling):
    """As torchvision's RASampler: so many images an epoch, of a fourth of the split."""
    steps = range(7)  # two epochs and a border
    repeated = drawn(batches(sampling=sampling, repeats=4), steps)
    assert (repeated == repeated[:, :1]).all()
    once = drawn(batches(sampling=sampling), range(6)).reshape(-1, 12)
    if sampling == "shuffle":  # the first three of each epoch's twelve
        np.testing.assert_array_equal(repeated[:6, 0], once[:, :3].ravel())
    else:
        np.testing.assert_array_equal(repeated[:, 0], once.ravel()[:7])


def test_copies_are_not_neighbours_and_are_the_same_on_any_processes(batches):
    """Mixup mixes neighbours: an image with itself would be no mixture."""
    whole = drawn(batches(repeats=2), range(6))
    np.testing.assert_array_equal(whole[:, :2], whole[:, 2:])
    assert (whole[:, 0] != whole[:, 1]).all()
    parts = [drawn(batches(repeats=2, share=(i, 4)), range(6)) for i in range(4)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    with pytest.raises(UsageError, match=r"the batch size, 4; with .*batch_size=3 it"):
        batches(repeats=3)


def test_each_copy_is_augmented_anew(photos):
    data, splits = photos(train_crop="random_resized_crop", repeats=2)
    made = TrainBatches(splits["train"], data, seed=0, batch_size=8).batch(0)
    np.testing.assert_array_equal(made["label"][:4], made["label"][4:])
    differences = made["image"][:4] != made["image"][4:]
    assert differences.any(axis=(1, 2, 3)).all()
