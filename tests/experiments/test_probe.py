"""The linear probe, against the normal equations with a column of ones; the halves."""

import numpy as np
import pytest

from cnn_arch import run_directory, settings
from cnn_arch.datasets.listing import list_folder
from cnn_arch.errors import UsageError
from cnn_arch.experiments import halves, probe


@pytest.fixture
def drawn():
    """Returns three classes around three places; D features, N images."""

    def draw(num_images, num_features, seed=0):
        random = np.random.default_rng(seed)
        places = np.random.default_rng(99).normal(size=(3, num_features))
        labels = random.permutation(np.arange(num_images) % 3)
        return places[labels] + random.normal(size=(num_images, num_features)), labels

    return draw


@pytest.mark.parametrize(("num_images", "num_features"), [(40, 6), (12, 30)])
def test_a_probe_solves_the_normal_equations(drawn, num_images, num_features):
    inputs, labels = drawn(num_images, num_features)
    _, (weights, biases) = probe.ridge(inputs, labels, [7, 0.1])
    centered = inputs - inputs.mean(axis=0)
    penalty = 0.1 * np.square(centered).sum() / min(num_images, num_features)
    # The bias is a feature of ones without a penalty.
    ones = np.hstack([inputs, np.ones((num_images, 1))])
    left = ones.T @ ones + np.diag([penalty] * num_features + [0])
    solution = np.linalg.solve(left, ones.T @ np.eye(3)[labels])
    np.testing.assert_allclose(weights, solution[:-1], atol=1e-10)
    np.testing.assert_allclose(biases, solution[-1], atol=1e-10)


def test_the_error_is_of_the_test_images(drawn):
    train, validation = drawn(60, 8), drawn(30, 8, 1)
    inputs, labels = drawn(90, 8, 2)
    good = probe.error(train, validation, (inputs, labels))
    assert good < 40  # guessing: 67
    # Each label is another one: what was right is wrong.
    assert probe.error(train, validation, (inputs, (labels + 1) % 3)) >= 100 - good


def test_the_halves_share_no_class_and_have_all_splits(photos, tmp_path):
    source, workdir = tmp_path / "source", tmp_path / "out"
    for split in ("train", "val", "test"):
        (source / split).mkdir(parents=True)
        for name in ("a", "b", "c", "d"):
            (source / split / name).symlink_to(photos / split / "blue")
    halves.make(source, workdir)
    halves.make(source, workdir)  # again: the links are there
    one = list_folder(str(halves.first(workdir)))
    other = list_folder(str(halves.other(str(halves.first(workdir)))))
    assert (one.class_names, other.class_names) == (("a", "c"), ("b", "d"))
    for half in (one, other):
        assert set(half.splits) == {"train", "validation", "test"}
        assert len(half.images) == 2 * (36 + 4 + 9)
    words = "--config=lenet5:folder", f"--config.data.dir={halves.first(workdir)}"
    config, _ = settings.parse(words)
    run_directory.create(workdir / "trial-00", config, one.class_names, ())
    assert halves.describe(workdir / "trial-00") == " (a, c); the other task: b, d"
    with pytest.raises(UsageError, match="has 3 classes, and two tasks need four"):
        halves.make(photos, workdir)
