"""Augmentation of images on the device, under jit: shift, mirror, recolour, erase.

The host sends uint8 images of image_size px. It has already mirrored its random crops;
whole images (``WHOLE_CROPS``) are mirrored here.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from cnn_arch.data import colour
from cnn_arch.data.mixing import NUM_ERASING_UNIFORMS, erase
from cnn_arch.data.normalisation import normalise
from cnn_arch.data.trivial_augment import NUM_UNIFORMS, trivial_augment

JITTER, PCA, ERASING, TRIVIAL = 1, 2, 3, 4  # purposes of a row's random numbers
WHOLE_CROPS = ("none", "pad_crop", "affine")  # train_crops that show the whole image


def training_images(
    image: jax.Array, key: jax.Array, data: Any, first_row: jax.Array | int = 0
) -> jax.Array:
    """Augments and normalises images by the settings config.data.

    The images are uint8 [B, H, W, C], consecutive rows of a batch from ``first_row``
    on; the result is float32. Row i gets the same random numbers, from the step's key,
    on any number of devices.
    """
    keys = row_keys(key, first_row, len(image))
    if data.normalisation == "channels":
        image = normalise(augment(image, key, data, first_row), data)
    else:  # each pixel has its numbers; and zeros around the image are the mean
        image = move(normalise(recolour(image, keys, data), data), keys, data)
    if data.erasing:
        uniforms = draw(jax.random.uniform, keys, ERASING, (NUM_ERASING_UNIFORMS,))
        image = erase(image, uniforms, data.erasing)
    return image


def augment(
    image: jax.Array, key: jax.Array, data: Any, first_row: jax.Array | int = 0
) -> jax.Array:
    """Returns ``training_images`` before they are normalised, uint8 or float32."""
    keys = row_keys(key, first_row, len(image))
    return recolour(move(image, keys, data), keys, data)


def row_keys(key: jax.Array, first_row: jax.Array | int, number: int) -> jax.Array:
    """Returns a random key for each of consecutive rows of a batch."""
    rows = first_row + jnp.arange(number)
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, rows)


def draw(
    distribution: Callable[..., jax.Array],
    keys: jax.Array,
    purpose: int,
    shape: tuple[int, ...],
) -> jax.Array:
    """Draws numbers [B, *shape] for a purpose from the rows' keys."""
    return jax.vmap(lambda key: distribution(jax.random.fold_in(key, purpose), shape))(
        keys
    )


def move(image: jax.Array, keys: jax.Array, data: Any) -> jax.Array:
    """Shifts and mirrors whole images [B, H, W, C]."""
    mirrors = data.flip and data.train_crop in WHOLE_CROPS
    if not mirrors and data.train_crop != "pad_crop":
        return image
    uniforms = jax.vmap(lambda key: jax.random.uniform(key, (3,)))(keys)
    if data.train_crop == "pad_crop":
        image = pad_crop(image, uniforms[:, :2], data.crop_padding)
    return flip(image, uniforms[:, 2]) if mirrors else image


def recolour(image: jax.Array, keys: jax.Array, data: Any) -> jax.Array:
    """Changes each image, above all its colours, by its settings; uint8 or float32."""
    if data.trivial_augment:
        uniforms = draw(jax.random.uniform, keys, TRIVIAL, (NUM_UNIFORMS,))
        image = trivial_augment(image, uniforms)
    widths = [data.brightness, data.contrast, data.saturation, data.hue]
    if any(widths):
        uniforms = draw(jax.random.uniform, keys, JITTER, (2, 4))
        none = jnp.array([1.0, 1.0, 1.0, 0.0])
        factors = none + (2 * uniforms[:, 0] - 1) * jnp.array(widths)
        order = jnp.argsort(uniforms[:, 1], axis=1)
        image = image.astype(jnp.float32)
        image = colour.jitter(image, order, factors, with_hue=bool(data.hue))
    if data.pca_noise:
        channels = data.channels
        normals = draw(jax.random.normal, keys, PCA, (channels,))
        deviations = jnp.array(data.pca[:channels])
        axes = jnp.array(data.pca[channels:]).reshape(channels, channels)
        image = image.astype(jnp.float32)
        image = colour.pca_noise(image, data.pca_noise * normals, axes, deviations)
    return image


def pad_crop(image: jax.Array, uniforms: jax.Array, padding: int) -> jax.Array:
    """Shifts each image [B, H, W, C] by up to ``padding`` px, and fills with zeros.

    The uniforms [B, 2], in [0, 1), choose the vertical and the horizontal shift.
    """
    padded = jnp.pad(image, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    places = jnp.floor(uniforms * (2 * padding + 1)).astype(jnp.int32)

    def crop(padded: jax.Array, place: jax.Array) -> jax.Array:
        return lax.dynamic_slice(padded, (*place, 0), image.shape[1:])

    return jax.vmap(crop)(padded, places)


def flip(image: jax.Array, uniforms: jax.Array) -> jax.Array:
    """Mirrors the images [B, H, W, C] whose uniform is below 1/2."""
    return jnp.where(uniforms[:, None, None, None] < 0.5, image[:, :, ::-1], image)
