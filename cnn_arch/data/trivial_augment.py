"""TrivialAugment on the device, under jit: one change an image, of random strength.

Müller and Hutter 2021, "TrivialAugment: Tuning-free Yet State-of-the-Art Data
Augmentation", the wide space of Table 5, with the operations, the 31 strengths and the
nearest pixels of torchvision's ``TrivialAugmentWide``. The border is filled with zeros.

A batch goes through three stages: a map of places, a table of values, and a blend with
another image. For each image one of them does something.
"""

import jax
import jax.numpy as jnp

OPERATIONS = (
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate",
    "brightness", "colour", "contrast", "sharpness",
    "posterise", "solarise", "autocontrast", "equalise",
)  # fmt: skip
NUM_STRENGTHS = 31
NUM_UNIFORMS = 3  # of an image
# The strongest of each operation with a sign: shears, px, degrees, shares.
STRONGEST: dict[str, float] = dict(
    zip(
        OPERATIONS[1:10], (0.99, 0.99, 32, 32, 135, 0.99, 0.99, 0.99, 0.99), strict=True
    )
)
GRAY = (0.299, 0.587, 0.114)  # Pillow's


def trivial_augment(image: jax.Array, uniforms: jax.Array) -> jax.Array:
    """Changes each image; uint8 [B, H, W, C].

    The uniforms [B, 3], in [0, 1), choose the operation, its strength and its sign.
    """
    kind = jnp.floor(uniforms[:, 0] * len(OPERATIONS)).astype(jnp.int32)
    level = jnp.floor(uniforms[:, 1] * NUM_STRENGTHS).astype(jnp.int32)
    return jax.vmap(_change)(image, kind, level, uniforms[:, 2] < 0.5)


def _change(
    image: jax.Array, kind: jax.Array, level: jax.Array, is_negative: jax.Array
) -> jax.Array:
    share = level / (NUM_STRENGTHS - 1)
    sign = jnp.where(is_negative, -1.0, 1.0)

    def strength(name: str) -> jax.Array:
        """Returns the signed strength of an operation, 0 if it is not this image's."""
        is_this = kind == OPERATIONS.index(name)
        return jnp.where(is_this, sign * share * STRONGEST[name], 0.0)

    image = _move(image, strength)
    image = _map_values(image, kind, level)
    return _blend(image, strength)


def _move(image: jax.Array, strength) -> jax.Array:
    """Takes each pixel from its place before the shear, the shift or the rotation."""
    height, width, _ = image.shape
    row, column = jnp.meshgrid(
        jnp.arange(height) + 0.5, jnp.arange(width) + 0.5, indexing="ij"
    )
    angle = jnp.deg2rad(strength("rotate"))  # counter-clockwise, around the centre
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    x, y = column - width / 2, row - height / 2
    x, y = cosine * x - sine * y + width / 2, sine * x + cosine * y + height / 2
    x = x + strength("shear_x") * row - jnp.trunc(strength("translate_x"))
    y = y + strength("shear_y") * column - jnp.trunc(strength("translate_y"))
    x, y = jnp.floor(x).astype(jnp.int32), jnp.floor(y).astype(jnp.int32)
    is_inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    moved = image[jnp.clip(y, 0, height - 1), jnp.clip(x, 0, width - 1)]
    return jnp.where(is_inside[..., None], moved, 0)


def _map_values(image: jax.Array, kind: jax.Array, level: jax.Array) -> jax.Array:
    """Replaces the values of each channel by a table of 256."""
    values = jnp.arange(256)
    bits = jnp.round(level / 5).astype(jnp.int32)  # 0 to 6 low bits become zero
    posterised = (values >> bits) << bits
    threshold = 255 - 255 * level / (NUM_STRENGTHS - 1)
    solarised = jnp.where(values < threshold, values, 255 - values)

    def map_channel(channel: jax.Array) -> jax.Array:
        counts = jnp.zeros(256, jnp.int32).at[channel.ravel()].add(1)
        table = jnp.select(
            [kind == OPERATIONS.index(name) for name in OPERATIONS[10:]],
            [posterised, solarised, _autocontrast(counts), _equalise(counts)],
            values,
        )
        return table[channel].astype(jnp.uint8)

    return jax.vmap(map_channel, in_axes=-1, out_axes=-1)(image)


def _autocontrast(counts: jax.Array) -> jax.Array:
    """Returns the table that stretches the values to 0 to 255."""
    values = jnp.arange(256)
    low, high = jnp.argmax(counts > 0), 255 - jnp.argmax(counts[::-1] > 0)
    stretched = (values - low) * 255 // jnp.maximum(high - low, 1)
    return jnp.where(high > low, jnp.clip(stretched, 0, 255), values)


def _equalise(counts: jax.Array) -> jax.Array:
    """Returns the table that makes all values equally frequent, as Pillow's."""
    last = counts[255 - jnp.argmax(counts[::-1] > 0)]
    step = (counts.sum() - last) // 255
    before = jnp.cumsum(counts) - counts
    table = (step // 2 + before) // jnp.maximum(step, 1)
    return jnp.where(step > 0, jnp.clip(table, 0, 255), jnp.arange(256))


def _blend(image: jax.Array, strength) -> jax.Array:
    """Blends with black, gray, mean gray or a smooth image, or away from it."""
    before = image.astype(jnp.float32)
    channels = image.shape[-1]
    weights = jnp.array(GRAY) if channels == 3 else jnp.ones(1)
    gray = jnp.round((before * weights).sum(axis=-1, keepdims=True))
    after = before
    for name, other in (
        ("brightness", jnp.zeros_like(before)),
        ("colour", gray),
        ("contrast", jnp.floor(gray.mean() + 0.5)),
        ("sharpness", _smooth(before)),
    ):
        after = after + strength(name) * (before - other)
    return jnp.clip(after, 0, 255).astype(jnp.uint8)


def _smooth(image: jax.Array) -> jax.Array:
    """Averages 3x3 pixels, the central one five times; the border stays."""
    height, width, _ = image.shape
    total = 4 * image[1:-1, 1:-1]
    for i in range(3):
        for j in range(3):
            total = total + image[i : height - 2 + i, j : width - 2 + j]
    return image.at[1:-1, 1:-1].set(jnp.floor(total / 13 + 0.5))
