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
    by_place = jnp.argsort(order == HUE, axis=1, stable=True)[:, :3]  # without the hue
    kinds = jnp.take_along_axis(order, by_place, axis=1)
    factors_by_place = jnp.take_along_axis(factors, kinds, axis=1)
    if not with_hue or image.shape[-1] == 1:  # gray images have no hue
        return _blends(image, kinds, factors_by_place)
    # The hue is computed once, between the blends before it and those after it; a
    # factor of 1 leaves an image as it is.
    place_of_hue = jnp.argmax(order == HUE, axis=1)[:, None]
    is_before = jnp.arange(3) < place_of_hue
    image = _blends(image, kinds, jnp.where(is_before, factors_by_place, 1.0))
    image = shift_hue(image, factors[:, HUE])
    return _blends(image, kinds, jnp.where(is_before, 1.0, factors_by_place))


def _blends(image: jax.Array, kinds: jax.Array, factors: jax.Array) -> jax.Array:
    """Makes three blends, one after another; kinds and factors are [B, 3]."""
    for place in range(3):
        kind, factor = kinds[:, place], factors[:, place]
        image = _blend(image, kind[:, None, None, None], factor[:, None, None, None])
    return image


def _blend(image: jax.Array, kind: jax.Array, factor: jax.Array) -> jax.Array:
    """Blends with black (brightness), the mean gray (contrast) or gray (saturation)."""
    gray = image
    if image.shape[-1] == 3:
        gray = (image @ jnp.array(GRAY))[..., None]
    mean = gray.mean(axis=(1, 2), keepdims=True)
    other = jnp.where(kind == SATURATION, gray, jnp.where(kind == CONTRAST, mean, 0.0))
    return jnp.clip(factor * image + (1 - factor) * other, 0.0, 255.0)


def shift_hue(image: jax.Array, shift: jax.Array) -> jax.Array:
    """Turns the hue of each image [B, H, W, 3] by a share of the circle [B].

    Each channel of a colour of full saturation is a trapezoid over the circle of hues;
    value and chroma stay (Smith 1978, "Color Gamut Transform Pairs", HSV).
    """
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    value = jnp.maximum(jnp.maximum(red, green), blue)
    low = jnp.minimum(jnp.minimum(red, green), blue)
    chroma = value - low
    safe = jnp.where(chroma == 0, 1.0, chroma)
    sextant = jnp.where(
        value == red,
        (green - blue) / safe,
        jnp.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sextant = (sextant + 6 * shift[:, None, None]) % 6
    shares = (
        jnp.abs(sextant - 3) - 1,
        2 - jnp.abs(sextant - 2),
        2 - jnp.abs(sextant - 4),
    )
    channels = [low + chroma * jnp.clip(share, 0.0, 1.0) for share in shares]
    return jnp.stack(channels, axis=-1)
