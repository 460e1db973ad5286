"""Changes of colour on the device, compared with Pillow, colorsys and NumPy."""

import colorsys
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from cnn_arch.data import colour


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (24, 9, 11, 3)).astype(np.float32)


jitter = jax.jit(colour.jitter, static_argnames="with_hue")
shift_hue = jax.jit(colour.shift_hue)
ENHANCERS = ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color


def test_pca_noise_adds_one_colour_to_each_image(image):
    generator = np.random.default_rng(1)
    normals = 0.1 * generator.normal(size=(24, 3))
    covariance = np.cov(image.reshape(-1, 3).T)
    values, vectors = np.linalg.eigh(covariance)
    deviations = jnp.array(values**0.5)
    changed = jax.jit(colour.pca_noise)(
        jnp.array(image),
        jnp.array(normals),
        jnp.array(vectors.T),
        deviations,
    )
    for row in range(24):
        expected = sum(
            normals[row, i] * values[i] ** 0.5 * vectors[:, i] for i in range(3)
        )
        difference = np.asarray(changed[row]) - image[row]
        np.testing.assert_allclose(
            difference, expected * np.ones((9, 11, 1)), atol=1e-4
        )


def test_jitter_equals_pillow_in_every_order(image):
    """Pillow cuts off the fraction after each change: up to three times."""
    orders = np.array(list(itertools.permutations(range(4))))
    factors = np.random.default_rng(2).uniform(0.5, 1.5, (24, 4))
    changed = jitter(
        jnp.array(image), jnp.array(orders), jnp.array(factors), with_hue=False
    )
    for row in range(24):
        picture = Image.fromarray(image[row].astype(np.uint8))
        for kind in orders[row]:
            if kind != colour.HUE:
                picture = ENHANCERS[kind](picture).enhance(factors[row, kind])
        difference = np.abs(np.asarray(changed[row]) - np.asarray(picture, float))
        assert difference.max() < 4
        assert difference.mean() < 2


def test_jitter_with_hue_keeps_the_order(image):
    """The hue changes the gray image, so its place matters."""
    factors = np.array([[1.0, 1.0, 0.4, 0.3]])
    saturated_first = np.array([[0, 1, colour.SATURATION, colour.HUE]])
    hue_first = np.array([[0, 1, colour.HUE, colour.SATURATION]])
    first, second = (
        jitter(
            jnp.array(image[:1]), jnp.array(order), jnp.array(factors), with_hue=True
        )
        for order in (saturated_first, hue_first)
    )
    by_hand = shift_hue(jnp.array(image[:1]), jnp.array([0.3]))
    gray = (by_hand @ jnp.array(colour.GRAY))[..., None]
    np.testing.assert_allclose(second, 0.4 * by_hand + 0.6 * gray, atol=1e-3)
    assert np.abs(np.asarray(first - second)).max() > 5


@pytest.mark.parametrize("shift", [0.0, 0.1, -0.5, 0.97])
def test_shift_hue_equals_colorsys(image, shift):
    image = image.copy()
    image[0, 0] = 7.0  # gray has no hue
    shifted = shift_hue(jnp.array(image), jnp.full(24, shift))
    pixels = list(zip(image[0].reshape(-1, 3), shifted[0].reshape(-1, 3), strict=True))
    for before, after in pixels:
        hue, saturation, value = colorsys.rgb_to_hsv(*(before / 255))
        expected = colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value)
        np.testing.assert_allclose(after, 255 * np.array(expected), atol=1e-3)


def test_gray_images_change_as_their_colour_versions():
    """GoogLeNet's recipe changes colours, also of digits."""
    generator = np.random.default_rng(0)
    gray = generator.uniform(0, 255, (4, 6, 6, 1)).astype(np.float32)
    order = jnp.array([generator.permutation(4) for _ in range(4)])
    factors = jnp.array(generator.uniform(0.5, 1.5, (4, 4)).astype(np.float32))
    found = jitter(jnp.array(gray), order, factors, with_hue=True)
    colours = jnp.array(gray.repeat(3, -1))
    wanted = jitter(colours, order, factors, with_hue=False)
    np.testing.assert_allclose(found, wanted[..., :1], atol=1e-3)
