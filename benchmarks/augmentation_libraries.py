"""The worker of augmentation.py that compares our changes with dm-pix and augmax.

Needs dm-pix and augmax, which take float32 images from 0 to 1. All programs get the
same float32 images from 0 to 255, with an amount of change for each, and return such
images.
"""
# pyright: reportMissingImports=false

from collections.abc import Callable
from importlib.metadata import version

import augmax
import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
from augmax.functional import colorspace
from ml_collections import ConfigDict
from worker import Pass, serve

from cnn_arch.data import colour, mixing

Change = Callable[
    [jax.Array, jax.Array], jax.Array
]  # of images [B, ...] and amounts [B]


def only(kind: int) -> Change:
    """Returns our change of one kind; of the hue by a shift, else by a factor."""

    def change(image: jax.Array, amount: jax.Array) -> jax.Array:
        factors = jnp.tile(jnp.array([1.0, 1.0, 1.0, 0.0]), (len(image), 1))
        factors = factors.at[:, kind].set(amount + (kind != colour.HUE))
        order = jnp.tile(jnp.arange(4), (len(image), 1))
        return colour.jitter(image, order, factors, with_hue=kind == colour.HUE)

    return change


def of_pixels(function: Callable) -> Change:
    """Returns the change that a function of one image from 0 to 1 makes."""

    def change(image: jax.Array, amount: jax.Array) -> jax.Array:
        changed = jax.vmap(function)(image / 255, amount)
        return 255 * jnp.clip(changed, 0, 1)

    return change


def ours_jitter(image: jax.Array, amount: jax.Array) -> jax.Array:
    """Changes brightness, contrast, saturation and hue in a random order."""
    keys = jax.random.split(jax.random.key(0), len(image))
    order = jax.vmap(lambda key: jax.random.permutation(key, 4))(keys)
    factors = 1 + jnp.tile(amount[:, None], (1, 4)) - jnp.array([0, 0, 0, 1])
    return colour.jitter(image, order, factors, with_hue=True)


def dm_pix_jitter(image: jax.Array, amount: jax.Array) -> jax.Array:
    """Does the same in a fixed order, which is what dm-pix can express."""
    image = dm_pix.adjust_brightness(image, amount)
    image = dm_pix.adjust_contrast(image, 1 + amount)
    image = dm_pix.adjust_saturation(image, 1 + amount)
    return dm_pix.adjust_hue(image, amount)


def augmax_jitter(image: jax.Array, amount: jax.Array) -> jax.Array:
    """Changes value, contrast and hue; its saturation is without effect."""
    jitter = augmax.ColorJitter(0.4, 0.4, 0.4, 0.1, p=1.0)
    keys = jax.random.split(jax.random.key(0), len(image))
    return 255 * jax.vmap(augmax.Chain(jitter))(keys, image / 255)


def augmax_hue(image: jax.Array, amount: jax.Array) -> jax.Array:
    """Shifts the hue of one image, as augmax's ColorJitter does for each pixel."""

    def shift(pixel: jax.Array) -> jax.Array:
        hue, saturation, value = augmax.utils.rgb_to_hsv(pixel)
        return augmax.utils.hsv_to_rgb(hue + amount, saturation, value)

    return jax.vmap(jax.vmap(shift))(image)


def ours_pca(image: jax.Array, amount: jax.Array) -> jax.Array:
    """Adds AlexNet's noise of colour."""
    normals = jnp.tile(amount[:, None], (1, 3))
    return colour.pca_noise(image, normals, jnp.eye(3), jnp.array([40.0, 20.0, 5.0]))


def ours_erasing(image: jax.Array, amount: jax.Array) -> jax.Array:
    """Erases a box of each image."""
    shape = len(image), mixing.NUM_ERASING_UNIFORMS
    return mixing.erase(image, jax.random.uniform(jax.random.key(0), shape), 1.0)


def ours_mixup(image: jax.Array, amount: jax.Array) -> jax.Array:
    """Mixes each image with the one before."""
    data = ConfigDict({"mixup": 0.2, "cutmix": 0.0})
    label, key = jnp.zeros(len(image), jnp.int32), jax.random.key(0)
    on_one_device = jax.vmap(
        lambda image: mixing.mix(image, label, key, data)[0], axis_name="data"
    )
    return on_one_device(image[None])[0]


# Neither library has the changes that only ours makes.
CHANGES: dict[str, dict[str, Change]] = {
    "brightness": {
        "cnn_arch": only(colour.BRIGHTNESS),
        "dm_pix": of_pixels(dm_pix.adjust_brightness),
        "augmax": of_pixels(colorspace.adjust_brightness),
    },
    "contrast": {
        "cnn_arch": only(colour.CONTRAST),
        "dm_pix": of_pixels(lambda x, amount: dm_pix.adjust_contrast(x, 1 + amount)),
        "augmax": of_pixels(colorspace.adjust_contrast),
    },
    "saturation": {
        "cnn_arch": only(colour.SATURATION),
        "dm_pix": of_pixels(lambda x, amount: dm_pix.adjust_saturation(x, 1 + amount)),
    },
    "hue": {
        "cnn_arch": lambda image, amount: colour.shift_hue(image, amount),
        "dm_pix": of_pixels(dm_pix.adjust_hue),
        "augmax": of_pixels(augmax_hue),
    },
    "jitter": {
        "cnn_arch": ours_jitter,
        "dm_pix": of_pixels(dm_pix_jitter),
        "augmax": augmax_jitter,
    },
    "pca_noise": {"cnn_arch": ours_pca},
    "erasing": {"cnn_arch": ours_erasing},
    "mixup": {"cnn_arch": ours_mixup},
}
COMPARED = ("brightness", "contrast", "saturation", "hue")  # not a random order


def prepare(case: dict) -> tuple[dict, dict[str, Pass]]:
    """Compiles all changes; returns the differences in levels, and the passes."""
    generator, size = np.random.default_rng(0), case["image_size"]
    pixels = generator.integers(0, 256, (case["batch_size"], size, size, 3))
    image = jnp.array(pixels, jnp.float32)
    amount = jnp.array(generator.uniform(-0.4, 0.4, len(image)), jnp.float32)
    programs = {
        (name, library): jax.jit(change)
        for name, by_library in CHANGES.items()
        for library, change in by_library.items()
    }
    differences = []
    for (name, library), program in programs.items():
        if name in COMPARED and library != "cnn_arch":
            ours = programs[name, "cnn_arch"](image, amount)
            difference = jnp.abs(program(image, amount) - ours)
            largest, mean = (
                float(f"{x:.2g}") for x in (difference.max(), difference.mean())
            )
            row = {"change": name, "library": library, "largest": largest, "mean": mean}
            differences.append(row)

    def pass_of(program: Change) -> Pass:
        return lambda: program(image, amount).block_until_ready()

    packages = ("jax", "dm-pix", "augmax")
    facts = {"versions": {name: version(name) for name in packages}}
    passes = {" ".join(key): pass_of(program) for key, program in programs.items()}
    return facts | {"differences": differences}, passes


if __name__ == "__main__":
    serve(prepare)
