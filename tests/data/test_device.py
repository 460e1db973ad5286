"""Augmentation on the device, compared with NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_arch.data import device, normalisation


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)


def test_pad_crop(image):
    uniforms = jnp.array([[0.5, 0.5], [0, 0.99], [0.99, 0.5]])
    cropped = device.pad_crop(jnp.array(image[:3]), uniforms, 2)
    np.testing.assert_array_equal(cropped[0], image[0])
    expected = np.zeros((8, 8, 3), np.uint8)
    expected[2:, :-2] = image[1][:-2, 2:]  # down by 2, left by 2
    np.testing.assert_array_equal(cropped[1], expected)
    expected[:] = 0
    expected[:-2] = image[2][2:]
    np.testing.assert_array_equal(cropped[2], expected)


def test_flip(image):
    flipped = device.flip(jnp.array(image[:2]), jnp.array([0.49, 0.5]))
    np.testing.assert_array_equal(flipped[0], image[0][:, ::-1])
    np.testing.assert_array_equal(flipped[1], image[1])


def test_augment_draws_every_place_and_mirrors_half(image, data_config):
    data = data_config(train_crop="pad_crop", crop_padding=1, flip=True)
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)))
    views = [padded[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    views += [view[:, :, ::-1] for view in views]
    counts = np.zeros(len(views), int)
    augment = jax.jit(
        lambda key: device.move(jnp.array(image), device.row_keys(key, 0, 40), data)
    )
    for step in range(45):
        augmented = augment(jax.random.key(step))
        assert augmented.dtype == jnp.uint8
        equal = [(augmented == view).all((1, 2, 3)).sum() for view in views]
        assert sum(equal) == 40
        counts += equal
    # 1,800 draws of 18 views: 100 each, standard deviation 9.7.
    assert 60 < counts.min() and counts.max() < 140


SETTINGS = {
    "moves": {"train_crop": "pad_crop", "crop_padding": 2, "flip": True},
    "colours": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "noise": {"pca_noise": 0.1, "pca": (9.0, 5.0, 1.0, *np.eye(3).ravel().tolist())},
    "erasing": {"erasing": 0.5},
    "trivial": {"trivial_augment": True},
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name == "colours"))
        for name in SETTINGS
    ],
)
def test_training_images_are_the_same_on_any_number_of_devices(
    image, data_config, name
):
    data = data_config(**SETTINGS[name])
    prepare = jax.jit(lambda x, key, row: device.training_images(x, key, data, row))
    key = jax.random.key(3)
    whole = prepare(jnp.array(image), key, 0)
    parts = [prepare(image[row : row + 10], key, row) for row in range(0, 40, 10)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert (whole != prepare(image, jax.random.key(4), 0)).any()


@pytest.mark.parametrize("crop", ["random_resized_crop", "scale_jitter_crop"])
def test_images_cut_on_the_host_are_not_moved(image, data_config, crop):
    data = data_config(train_crop=crop, flip=True, mean=(0.0,) * 3, std=(1.0,) * 3)
    prepared = device.training_images(jnp.array(image), jax.random.key(0), data)
    np.testing.assert_array_equal(prepared, image)


def test_normalised_images_are_moved_and_filled_with_zeros(image, data_config):
    arrays = normalisation.Arrays(image[0].astype(np.float32), np.zeros((0, 0)))
    data = data_config(
        train_crop="pad_crop",
        crop_padding=2,
        flip=False,
        normalisation="mean_image",
        arrays=normalisation.remember(arrays),
    )
    prepare = jax.jit(lambda image, key: device.training_images(image, key, data))
    key = jax.random.key(0)
    prepared = np.asarray(prepare(image, key))
    centred = image.astype(np.float32) - image[0].astype(np.float32)
    padded = np.pad(centred, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for row in range(40):
        views = [padded[row, i : i + 8, j : j + 8] for i in range(5) for j in range(5)]
        assert any((prepared[row] == view).all() for view in views)
    parts = [
        jax.jit(lambda x, row: device.training_images(x, key, data, row))(
            image[row : row + 10], row
        )
        for row in range(0, 40, 10)
    ]
    np.testing.assert_array_equal(prepared, np.concatenate(parts))
