"""What is done to images on the device, under jit: shifts, mirror images, scale.

The host hands over uint8 images of image_size px. What it cut at random out of larger
ones it has also mirrored; of whole images (``WHOLE_CROPS``) that is done here.
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
    """Shifts and mirrors whole images, as ``data`` says.

    Row i of a batch gets the same numbers on any number of devices.

    Args:
      image: uint8 [B, H, W, C], consecutive rows of a batch.
      key: random key of the step.
      data: config.data.
      first_row: place in the batch of the first row given.

    Returns:
      uint8 [B, H, W, C].
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
    """Shifts each image by up to ``padding`` px each way; zeros come in at the edges.

    Args:
      image: [B, H, W, C].
      uniforms: in [0, 1), [B, 2]: vertical and horizontal place of the crop.
      padding: zeros added on each side before the crop, px.
    """
    margins = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = jnp.pad(image, margins)
    places = jnp.floor(uniforms * (2 * padding + 1)).astype(jnp.int32)

    def crop(padded: jax.Array, place: jax.Array) -> jax.Array:
        return lax.dynamic_slice(padded, (*place, 0), image.shape[1:])

    return jax.vmap(crop)(padded, places)


def flip(image: jax.Array, uniforms: jax.Array) -> jax.Array:
    """Mirrors those images [B, H, W, C] whose uniform is below 1/2."""
    return jnp.where(uniforms[:, None, None, None] < 0.5, image[:, :, ::-1], image)


def normalise(
    image: jax.Array, mean: Sequence[float], std: Sequence[float]
) -> jax.Array:
    """Returns (image - mean) / std, float32, of a uint8 image [..., C]."""
    image = image.astype(jnp.float32)
    return (image - jnp.array(mean)) * (1 / jnp.array(std))
