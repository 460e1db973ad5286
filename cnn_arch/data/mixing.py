"""Augmentations with pixels of other images, or with none: mixup, CutMix, erasing.

They work on the device, under jit, on normalised images [B, H, W, C]. Row i of a batch
is mixed with row i - 1 of the global batch, on any number of devices.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

MIXING = 2**31  # purpose of random numbers; the others are the rows of a batch
ERASING_TRIES = 10  # torchvision's RandomErasing
NUM_ERASING_UNIFORMS = 1 + 2 * ERASING_TRIES + 2


def mix(
    image: jax.Array, label: jax.Array, key: jax.Array, data: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mixes the images of a batch; call it on each device of the mesh axis "data".

    One share for the whole batch is drawn from Beta(alpha, alpha). With both alphas,
    each batch is mixed by one of the two methods, with equal probability, as in
    torchvision's reference training.

    Args:
      image: float32 [B, H, W, C], this device's rows, normalised.
      label: int32 [B].
      key: of the step, the same on all devices.
      data: config.data: ``mixup`` is alpha of Zhang et al. 2018, "mixup: Beyond
        Empirical Risk Minimization", Equation 2; ``cutmix`` of Yun et al. 2019,
        "CutMix", Section 3.1; 0: not this method.

    Returns:
      The images, the labels of the images that were mixed in, int32 [B], and the share
      of the images' own labels in the target, float32.
    """
    choice, share_key, box_key = jax.random.split(jax.random.fold_in(key, MIXING), 3)
    other, partner = _previous_row(image), _previous_row(label)
    shares = [
        jax.random.beta(share_key, alpha, alpha) if alpha else jnp.ones(())
        for alpha in (data.mixup, data.cutmix)
    ]
    box = cutmix_box(image.shape[1:3], box_key, shares[1])
    mixed = shares[0] * image + (1 - shares[0]) * other
    cut = jnp.where(box[..., None], other, image)
    if data.mixup and data.cutmix:
        uses_cutmix = jax.random.bernoulli(choice)
    else:
        uses_cutmix = jnp.array(bool(data.cutmix))
    image = jnp.where(uses_cutmix, cut, mixed)
    # The box may be cut off at the border: count what is really left.
    share = jnp.where(uses_cutmix, 1 - box.mean(), shares[0])
    return image, partner, share


def _previous_row(rows: jax.Array) -> jax.Array:
    """Returns the row before each one in the global batch; before row 0: the last."""
    size = lax.axis_size("data")
    last = rows[-1:]
    if size > 1:
        ring = [(i, (i + 1) % size) for i in range(size)]
        last = lax.ppermute(last, "data", ring)
    return jnp.concatenate([last, rows[:-1]])


def cutmix_box(shape: tuple[int, ...], key: jax.Array, share: jax.Array) -> jax.Array:
    """Returns a mask [H, W] of a random box with about 1 - share of the area.

    The centre is uniform over the image, and the box is cut off at its border (Yun et
    al. 2019, Equation 2; torchvision's CutMix).
    """
    extent = jnp.array(shape)
    centre = jnp.floor(jax.random.uniform(key, (2,)) * extent)
    half = jnp.floor(0.5 * jnp.sqrt(1 - share) * extent)
    return box_mask(shape, centre - half, centre + half)


def box_mask(shape: tuple[int, ...], start: jax.Array, stop: jax.Array) -> jax.Array:
    """Returns a mask [H, W], true from `start` to before `stop`, both (row, column)."""
    row, column = jnp.arange(shape[0])[:, None], jnp.arange(shape[1])
    return (
        (row >= start[0]) & (row < stop[0]) & (column >= start[1]) & (column < stop[1])
    )


def erase(image: jax.Array, uniforms: jax.Array, probability: float) -> jax.Array:
    """Sets a random box of some normalised images [B, H, W, C] to zero, the mean.

    Zhong et al. 2020, "Random Erasing Data Augmentation", Algorithm 1: a box of 2 to
    33 % of the area, its aspect between 0.3 and 1/0.3; here by torchvision's algorithm,
    uniform in the logarithm of the aspect, with ten tries.

    Args:
      image: normalised.
      uniforms: [B, 23]: whether; area and aspect of ten tries; the box's place.
      probability: of an image to be changed.
    """
    masks = jax.vmap(erasing_box, in_axes=(None, 0))(image.shape[1:3], uniforms[:, 1:])
    masks &= (uniforms[:, 0] < probability)[:, None, None]
    return jnp.where(masks[..., None], 0.0, image)


def erasing_box(shape: tuple[int, ...], uniforms: jax.Array) -> jax.Array:
    """Returns the mask [H, W] of one image; nothing is true if no try fits."""
    height, width = shape
    tries = uniforms[: 2 * ERASING_TRIES].reshape(ERASING_TRIES, 2)
    area = height * width * (0.02 + (0.33 - 0.02) * tries[:, 0])
    aspect = jnp.exp(jnp.log(0.3) + jnp.log(3.3 / 0.3) * tries[:, 1])
    sides = jnp.round(jnp.sqrt(jnp.stack([area * aspect, area / aspect], axis=1)))
    fits = (sides[:, 0] < height) & (sides[:, 1] < width)
    side = sides[jnp.argmax(fits)]
    room = jnp.array(shape) - side + 1
    start = jnp.floor(uniforms[2 * ERASING_TRIES :] * room)
    return box_mask(shape, start, start + side) & fits.any()
