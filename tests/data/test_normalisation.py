"""Normalisation and its arrays, compared with NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_arch import settings
from cnn_arch.data import normalisation, statistics
from cnn_arch.data.bundled import ArraySource
from cnn_arch.errors import UsageError
from cnn_arch.run_directory import Run
from cnn_arch.screen import Screen

SIZE = 6


@pytest.fixture
def source():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (300, SIZE, SIZE, 3), np.uint8)
    images[7] = 9  # of one colour: it has no contrast
    return ArraySource(images, np.zeros(300, np.int32), ["image"] * 300)


@pytest.fixture
def config():
    def make(name):
        words = "--config=configs/nin_cifar.py:folder", "--config.data.fit=pad"
        words += f"--config.data.normalisation={name}", "--config.data.in_memory=true"
        return settings.parse([*words, f"--config.data.image_size={SIZE}"])[0]

    return make


def contrast(images):
    """pylearn2's global_contrast_normalize(X, scale=55.), an image at a time."""
    rows = []
    for image in images.astype(np.float64):
        row = image.ravel() - image.mean()
        norm = np.sqrt((row**2).sum()) / 55.0
        rows.append(row / (norm if norm >= 1e-8 else 1.0))
    return np.array(rows)


def test_channels(config):
    data = settings.derive(
        config("channels"),
        {"data.mean": (10.0, 20.0, 30.0), "data.std": (2.0, 4.0, 5.0)},
    ).data
    image = jnp.array([[[[0, 128, 255]]]], jnp.uint8)
    np.testing.assert_allclose(
        normalisation.normalise(image, data), [[[[-5.0, 27.0, 45.0]]]], rtol=1e-6
    )


def test_the_mean_of_each_pixel_is_subtracted(source, config, tmp_path):
    full = statistics.with_counts(config("mean_image"), source, Run(tmp_path, Screen()))
    prepared = normalisation.normalise(jnp.array(source.images), full.data)
    expected = source.images - source.images.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(prepared, expected, atol=1e-4)


def test_a_mean_image_and_colours_are_counted_together(source, config, tmp_path):
    both = settings.derive(
        config("mean_image"), {"data.pca_noise": 0.1, "data.pca": ()}
    )
    full = statistics.with_counts(both, source, Run(tmp_path, Screen()))
    prepared = normalisation.normalise(jnp.array(source.images), full.data)
    expected = source.images - source.images.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(prepared, expected, atol=1e-4)
    covariance = np.cov(source.images.reshape(-1, 3).T, bias=True)
    deviations = np.sqrt(np.linalg.eigvalsh(covariance)[::-1])
    np.testing.assert_allclose(full.data.pca[:3], deviations, rtol=1e-5)


def test_gcn_and_zca(source, config, tmp_path):
    full = statistics.with_counts(config("gcn_zca"), source, Run(tmp_path, Screen()))
    prepared = normalisation.normalise(jnp.array(source.images), full.data)
    rows = contrast(source.images)
    np.testing.assert_allclose(
        normalisation.normalise_contrast(jnp.array(source.images, jnp.float32)),
        rows.reshape(source.images.shape),
        atol=1e-4,
    )
    covariance = np.cov(rows.T, bias=True) + 0.1 * np.eye(rows.shape[1])
    values, vectors = np.linalg.eigh(covariance)
    whitening = vectors @ np.diag(values**-0.5) @ vectors.T
    expected = (rows - rows.mean(axis=0)) @ whitening
    np.testing.assert_allclose(prepared.reshape(rows.shape), expected, atol=1e-4)
    white = np.cov(prepared.reshape(rows.shape).T, bias=True)
    assert np.abs(white - np.eye(len(white))).max() < 0.1  # the bias of 0.1 is left


def test_the_arrays_are_kept_with_the_run(source, config, tmp_path, monkeypatch):
    run = Run(tmp_path, Screen())
    full = statistics.with_counts(config("gcn_zca"), source, run)
    normalisation.write(tmp_path, full.data)
    image = jnp.array(source.images)
    before = jax.jit(lambda image: normalisation.normalise(image, full.data))(image)
    monkeypatch.setattr(normalisation, "_KNOWN", {})  # as in another process
    assert statistics.with_counts(full, source, run) == full
    after = jax.jit(lambda image: normalisation.normalise(image, full.data))(image)
    np.testing.assert_array_equal(before, after)

    monkeypatch.setattr(normalisation, "_KNOWN", {})
    path = tmp_path / normalisation.FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"normalisation\.npz: .*; put it back"):
        normalisation.read(tmp_path, full.data)
    other = normalisation.Arrays(np.ones((1, 1, 1)), np.ones((1, 1)))
    data = settings.derive(full, {"data.arrays": normalisation.remember(other)}).data
    normalisation.write(tmp_path, data)
    with pytest.raises(UsageError, match="is not the file of this run; put it back"):
        normalisation.read(tmp_path, full.data)
    path.unlink()
    with pytest.raises(UsageError, match=r"npz: not readable .*; put it back"):
        normalisation.read(tmp_path, full.data)


def test_large_images_are_not_whitened(source, config, tmp_path):
    large = settings.derive(config("gcn_zca"), {"data.image_size": 40})
    with pytest.raises(UsageError, match=r"4,800 numbers an image are too many"):
        statistics.with_counts(large, source, Run(tmp_path, Screen()))
