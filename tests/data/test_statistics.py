"""Statistics of the training images, compared with NumPy on all pixels at once."""

from pathlib import Path

import numpy as np
import pytest

from cnn_arch import settings
from cnn_arch.data import statistics
from cnn_arch.data.bundled import ArraySource
from cnn_arch.data.views import load_examples
from cnn_arch.errors import RunError
from cnn_arch.run_directory import Run
from cnn_arch.screen import Screen
from tests.data.conftest import load


@pytest.fixture
def source_and_data(make_folder, data_config):
    data = data_config(
        dir=make_folder({"train/rose": 90, "train/tulip": 9, "test/rose": 2})
    )
    return load(data).splits["train"], data


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run", Screen())


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


def test_a_recipe_counts_what_it_leaves_open(source_and_data, run, capsys):
    source, data = source_and_data
    words = "--config=configs/resnet20.py:folder", f"--config.data.dir={data.dir}"
    config, _ = settings.parse([*words, "--config.data.pca_noise=0.1"])
    assert not (config.data.mean or config.data.std or config.data.pca)
    full = statistics.with_counts(config, source, run)
    images = load_examples(source, range(len(source)), config.data)
    pixels = images.reshape(-1, 3).astype(float)
    np.testing.assert_allclose(full.data.mean, pixels.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(full.data.std, pixels.std(axis=0), rtol=1e-5)
    assert sum(np.square(full.data.pca[:3])) == pytest.approx(pixels.var(0).sum())
    said = f"counted  {len(source)} training images: mean 12"
    assert said in capsys.readouterr().out
    assert statistics.with_counts(full, source, run) == full
    assert not capsys.readouterr().out
    # What config.json gives back is what the run was trained with, bit for bit.
    path = Path(data.dir) / "config.json"
    path.write_text(settings.to_json(full))
    stored = settings.from_json(path)
    assert settings.flatten(stored) == settings.flatten(full)


def test_the_numbers_of_a_recipe_are_not_counted_again(source_and_data, run):
    source, _ = source_and_data
    words = "--config=configs/resnet20.py:folder", "--config.data.mean=(1.0, 2.0, 3.0)"
    config, _ = settings.parse(words)
    full = statistics.with_counts(config, source, run)
    assert full.data.mean == (1.0, 2.0, 3.0)
    assert full.data.pca == ()  # without noise no axes


def test_weights_that_are_inverse_to_the_images_of_a_class(capsys):
    images, labels = np.zeros((8, 4, 4, 3), np.uint8), np.array([0] * 6 + [1] * 2)
    source = ArraySource(images, labels, list("abcdefgh"))
    words = "--config=configs/resnet20.py:folder", "--config.class_weights=inverse"
    config, _ = settings.parse(words)
    full = statistics.with_class_weights(config, source, 2, Screen())
    assert full.class_weights == "0.666667,2"  # 8 / (2 x 6) and 8 / (2 x 2)
    assert "weights of classes in the loss: 0.667 to 2" in capsys.readouterr().out
    assert statistics.with_class_weights(full, source, 2, Screen()) == full


def test_images_of_one_colour_have_a_deviation_that_can_divide(run):
    images = np.full((3, 16, 16, 3), 7, np.uint8)
    source = ArraySource(images, np.zeros(3, np.int32), list("abc"))
    config, _ = settings.parse(["--config=configs/resnet20.py:folder"])
    full = statistics.with_counts(config, source, run)
    assert (full.data.mean, full.data.std) == ((7.0,) * 3, (1.0,) * 3)


def test_without_an_image_that_can_be_read(make_folder, data_config):
    root = make_folder({"train/rose": 9, "train/tulip": 9, "test/rose": 2})
    data = data_config(dir=root, skip_broken=True)
    source = load(data).splits["train"]
    for file in root.glob("train/*/*"):
        file.write_bytes(b"no image")
    with pytest.raises(RunError, match=r"none of the \d+ training images can be"):
        statistics.count_colours(source, data, Screen(quiet=True))
