"""TrivialAugment compared with Pillow, operation by operation, as in torchvision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from cnn_arch.data import trivial_augment as trivial

ENHANCERS = {
    "brightness": ImageEnhance.Brightness,
    "colour": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "sharpness": ImageEnhance.Sharpness,
}
change = jax.jit(trivial.trivial_augment)


@pytest.fixture(scope="module")
def image():
    """Returns random pixels, smooth pixels of few values, and one colour."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (3, 40, 44, 3), np.uint8)
    images[1] = 60 + np.arange(40)[:, None, None] + np.arange(3) * 20
    images[1, 20:, 20:] += 40
    images[2] = 17
    return images


def by_pillow(image, name, level, sign):
    """The operations of torchvision's _apply_op, for Pillow's images."""
    picture, share = Image.fromarray(image), level / 30
    if name in ENHANCERS:
        return ENHANCERS[name](picture).enhance(1 + sign * 0.99 * share)
    if name == "posterise":
        return ImageOps.posterize(picture, 8 - round(level / 5))
    if name == "solarise":
        return ImageOps.solarize(picture, 255 - 255 * share)
    if name == "autocontrast":
        return ImageOps.autocontrast(picture)
    if name == "equalise":
        return ImageOps.equalize(picture)
    if name == "rotate":
        return picture.rotate(sign * 135 * share)
    shear, shift = sign * 0.99 * share, -int(sign * 32 * share)
    matrix = {
        "identity": (1, 0, 0, 0, 1, 0),
        "shear_x": (1, shear, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, shear, 1, 0),
        "translate_x": (1, 0, shift, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, shift),
    }[name]
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix)


@pytest.mark.parametrize("name", trivial.OPERATIONS)
def test_an_operation_equals_pillows(image, name):
    kind = (trivial.OPERATIONS.index(name) + 0.5) / len(trivial.OPERATIONS)
    for level in (0, 1, 11, 22, 30):
        for sign in (1, -1):
            draw = (kind, (level + 0.5) / 31, 0.25 if sign < 0 else 0.75)
            changed = np.asarray(change(jnp.array(image), jnp.array([draw] * 3)))
            assert changed.dtype == np.uint8
            for row in range(3):
                expected = np.asarray(by_pillow(image[row], name, level, sign))
                difference = np.abs(changed[row].astype(int) - expected)
                if name in ("rotate", "shear_x", "shear_y"):
                    # A place between two pixels may round to the other one.
                    assert (difference > 0).mean() < 0.02, (level, sign, row)
                else:
                    assert difference.max() <= 1, (level, sign, row)
                    assert (difference > 0).mean() < 0.05, (level, sign, row)


def test_a_strong_operation_changes_the_image(image):
    for kind, name in enumerate(trivial.OPERATIONS):
        draw = jnp.array([[(kind + 0.5) / 14, 0.999, 0.75]])
        changed = np.asarray(change(jnp.array(image[1:2]), draw))
        assert (changed != image[1]).any() == (name != "identity")


def test_gray_images_keep_their_channel(image):
    draws = np.random.default_rng(0).random((30, 3))
    gray = np.repeat(image[:1, :, :, :1], 30, axis=0)
    assert change(jnp.array(gray), jnp.array(draws)).shape == gray.shape
