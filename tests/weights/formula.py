"""Weights and images from a formula: two frameworks make the same network from it.

An array depends only on its torchvision key and its shape.
"""

import zlib

import numpy as np

NUM_CLASSES = 10
SCALES = {  # vectors are uniform in [low, high]
    "running_var": (0.6, 1.4),
    "running_mean": (-0.2, 0.2),
    "weight": (0.7, 1.3),  # of BatchNorm
    "bias": (-0.1, 0.1),
}


def weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draws the float32 array of a torchvision key."""
    generator = np.random.default_rng(zlib.crc32(key.encode()))
    if len(shape) == 1:
        array = generator.uniform(*SCALES[key.rpartition(".")[2]], shape)
    else:  # He's deviation: the maps of all layers have similar magnitudes
        fan_in = np.prod(shape[1:])
        array = generator.standard_normal(shape, np.float32) * np.sqrt(2 / fan_in)
    return array.astype(np.float32)


def images(size: int, count: int) -> np.ndarray:
    """Draws float32 images [count, size, size, 3] of unit variance."""
    generator = np.random.default_rng(size)
    return generator.standard_normal((count, size, size, 3), np.float32)
