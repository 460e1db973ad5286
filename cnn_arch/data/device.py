"""Operations on images on the device, under jit: shift, mirror, normalise.

The host sends uint8 images of image_size px. It has already mirrored its random crops;
whole images (``WHOLE_CROPS``) are mirrored here.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

WHOLE_CROPS = ("none", "pad_crop", "affine")  # train_crops that show the whole image


def augment(
    image: jax.Array, key: jax.Array, data: Any, first_row: jax.Array | int = 0
) -> jax.Array:
    """Shifts and mirrors whole images, uint8 [B, H, W, C], by the settings config.data.

    The images are consecutive rows of a batch from ``first_row`` on. Row i gets the
    same random numbers, from the step's key, on any number of devices.
    """
    mirrors = data.flip and data.train_crop in WHOLE_CROPS
    if not mirrors and data.train_crop != "pad_crop":
        return image
    rows = first_row + jnp.arange(len(image))
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, rows)
    uniforms = jax.vmap(lambda key: jax.random.uniform(key, (3,)))(keys)
    if data.train_crop == "pad_crop":
        image = pad_crop(image, uniforms[:, :2], data.crop_padding)
    return flip(image, uniforms[:, 2]) if mirrors else image


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


def normalise(
    image: jax.Array, mean: Sequence[float], std: Sequence[float]
) -> jax.Array:
    """Returns (image - mean) / std, float32, of a uint8 image [..., C]."""
    image = image.astype(jnp.float32)
    return (image - jnp.array(mean)) * (1 / jnp.array(std))
