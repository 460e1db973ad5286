"""Weights and images by a formula, so that two frameworks make the same network.

An array depends on its torchvision key and shape alone.
"""

import zlib

import numpy as np

NUM_CLASSES = 10
SCALES = {  # of vectors: mean and half the range of a uniform distribution
    "running_var": (1.0, 0.4),
    "running_mean": (0.0, 0.2),
    "weight": (1.0, 0.3),  # BatchNorm's
    "bias": (0.0, 0.1),
}


def weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draws the float32 array of a torchvision key."""
    generator = np.random.default_rng(zlib.crc32(key.encode()))
    if len(shape) == 1:
        mean, half = SCALES[key.rpartition(".")[2]]
        array = generator.uniform(mean - half, mean + half, shape)
    else:  # He's deviation keeps the maps of all layers alike in size
        fan_in = np.prod(shape[1:])
        array = generator.standard_normal(shape, np.float32) * np.sqrt(2 / fan_in)
    return array.astype(np.float32)


def images(size: int, count: int) -> np.ndarray:
    """Draws float32 images [count, size, size, 3] of unit variance."""
    generator = np.random.default_rng(size)
    return generator.standard_normal((count, size, size, 3), np.float32)
