"""Changes of colour on the device, under jit.

Images are float32 [B, H, W, 3], red, green, blue, from 0 to 255. No function draws a
random number: row i of each argument is for image i.
"""

import jax
import jax.numpy as jnp

# ITU-R BT.601, in thousandths, as in Pillow's conversion to gray.
GRAY = (0.299, 0.587, 0.114)
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def pca_noise(
    image: jax.Array, normals: jax.Array, axes: jax.Array, deviations: jax.Array
) -> jax.Array:
    """Adds one colour to all pixels of an image (Krizhevsky et al. 2012, Section 4.1).

    The colour is the sum of the eigenvectors of the pixels' covariance, each weighted
    by its deviation and by a normal number. The paper prints "eigenvalues"; its
    authors' program multiplies by their square roots, the standard deviations
    (cuda-convnet, ``color_stdevs``), and so does this function.

    Args:
      image: [B, H, W, C]; not clipped afterwards.
      normals: [B, C], of mean 0 and standard deviation 0.1.
      axes: [C, C], an eigenvector a row.
      deviations: [C], on the scale of the pixels.
    """
    colour = (normals * deviations) @ axes
    return image + colour[:, None, None, :]


def jitter(
    image: jax.Array, order: jax.Array, factors: jax.Array, *, with_hue: bool
) -> jax.Array:
    """Changes brightness, contrast, saturation and hue, in a random order.

    The first three blend an image with another one, as Pillow's ImageEnhance does:
    black, the mean of its gray version, and its gray version. Results are clipped.
    Howard 2013, "Some Improvements on Deep Convolutional Neural Network Based Image
    Classification", Section 2, has the first three, each by 0.5 to 1.5.

    dm-pix defines them as TensorFlow does: an amount is added (brightness), the mean is
    that of each channel (contrast), HSV's saturation is multiplied; its hue is ours.

    Args:
      image: [B, H, W, 3], or gray [B, H, W, 1].
      order: int32 [B, 4], a permutation of 0 to 3 an image: which change comes when.
      factors: [B, 4], of brightness, contrast, saturation (1: no change), and the shift
        of the hue as a share of the circle (0: no change).
      with_hue: false skips the hue, which costs more than the others together.
    """
    with_hue = with_hue and image.shape[-1] == 3  # gray images have none
    steps = 4 if with_hue else 3
    if not with_hue:  # close the gap that the hue leaves in the order
        order = order[jnp.arange(len(order))[:, None], _places_without_hue(order)]
    for place in range(steps):
        kind = order[:, place]
        factor = jnp.take_along_axis(factors, kind[:, None], axis=1)
        image = _blend(image, kind[:, None, None, None], factor[..., None, None])
        if with_hue:
            shift = jnp.where(kind == HUE, factors[:, HUE], 0.0)
            hued = shift_hue(image, shift)
            image = jnp.where((kind == HUE)[:, None, None, None], hued, image)
    return image


def _places_without_hue(order: jax.Array) -> jax.Array:
    """Returns the places [B, 3] of the order's other changes, from first to last."""
    return jnp.argsort(order == HUE, axis=1, stable=True)[:, :3]


def _blend(image: jax.Array, kind: jax.Array, factor: jax.Array) -> jax.Array:
    """Blends with black (brightness), the mean gray (contrast) or gray (saturation)."""
    gray = image
    if image.shape[-1] == 3:
        gray = (image @ jnp.array(GRAY))[..., None]
    mean = gray.mean(axis=(1, 2), keepdims=True)
    other = jnp.where(kind == SATURATION, gray, jnp.where(kind == CONTRAST, mean, 0.0))
    factor = jnp.where(kind == HUE, 1.0, factor)
    return jnp.clip(factor * image + (1 - factor) * other, 0.0, 255.0)


def shift_hue(image: jax.Array, shift: jax.Array) -> jax.Array:
    """Turns the hue of each image [B, H, W, 3] by a share of the circle [B].

    Each channel of a colour of full saturation is a trapezoid over the circle of hues;
    value and chroma stay (Smith 1978, "Color Gamut Transform Pairs", HSV).
    """
    value, low = image.max(-1), image.min(-1)
    chroma = value - low
    safe = jnp.where(chroma == 0, 1.0, chroma)
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    sextant = jnp.where(
        value == red,
        (green - blue) / safe,
        jnp.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sextant = sextant + 6 * shift[:, None, None]
    places = (jnp.array([5.0, 3.0, 1.0]) + sextant[..., None]) % 6
    distance = jnp.clip(jnp.minimum(places, 4 - places), 0.0, 1.0)
    return value[..., None] - chroma[..., None] * distance
