"""Statistics of the training images, compared with NumPy on all pixels at once."""

import numpy as np
import pytest

from cnn_arch.data import statistics
from cnn_arch.data.views import load_examples
from cnn_arch.screen import Screen
from tests.data.conftest import load


@pytest.fixture
def source_and_data(make_folder, data_config):
    data = data_config(
        dir=make_folder({"train/rose": 90, "train/tulip": 9, "test/rose": 2})
    )
    return load(data).splits["train"], data


def test_colours_of_all_pixels(source_and_data):
    source, data = source_and_data
    counted = statistics.count_colours(source, data, Screen(quiet=True))
    pixels = load_examples(source, range(len(source)), data).reshape(-1, 3)
    assert counted.num_images == len(source)
    np.testing.assert_allclose(counted.mean, pixels.mean(axis=0))
    np.testing.assert_allclose(counted.std, pixels.std(axis=0))
    np.testing.assert_allclose(counted.covariance, np.cov(pixels.T, bias=True))


def test_principal_axes_rebuild_the_covariance(source_and_data):
    source, data = source_and_data
    counted = statistics.count_colours(source, data, Screen(quiet=True))
    numbers = np.array(counted.principal_axes)
    deviations, axes = numbers[:3], numbers[3:].reshape(3, 3)
    assert list(deviations) == sorted(deviations, reverse=True)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    rebuilt = sum(deviations[i] ** 2 * np.outer(axes[i], axes[i]) for i in range(3))
    np.testing.assert_allclose(rebuilt, counted.covariance, atol=1e-8)


def test_at_most_so_many_images_are_counted(source_and_data):
    source, data = source_and_data
    counted = statistics.count_colours(source, data, Screen(quiet=True), max_images=10)
    chosen = np.linspace(0, len(source) - 1, 10).astype(int)
    pixels = load_examples(source, chosen, data).reshape(-1, 3)
    np.testing.assert_allclose(counted.mean, pixels.mean(axis=0))
