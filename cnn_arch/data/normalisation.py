"""How the pixels of an image, 0 to 255, become the numbers that a network takes.

``config.data.normalisation`` chooses. Two forms need large arrays that are counted from
the training images of a run (data/statistics.py). They are in a file of the run's
directory, and the config has their checksum, by which this module finds them.
"""

import dataclasses
import hashlib
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from cnn_arch.data.sources import DataConfig
from cnn_arch.errors import UsageError
from cnn_arch.files import replacing

FILE = "normalisation.npz"
# pylearn2's CIFAR-10, which the authors of maxout and of NiN use: make_cifar10_gcn_
# whitened.py has CIFAR10(gcn=55.), and filter_bias=0.1 is the default of its ZCA.
CONTRAST = 55.0
ZCA_BIAS = 0.1
SMALLEST_NORM = 1e-8  # of GCN, below which an image is not scaled


@dataclasses.dataclass(frozen=True)
class Arrays:
    """What is counted for a normalisation."""

    mean: np.ndarray  # float32 [H, W, C], of gcn_zca after GCN
    whitening: np.ndarray  # float32 [H * W * C, H * W * C], symmetric; else [0, 0]

    @property
    def checksum(self) -> str:
        """SHA-256 of the numbers."""
        return hashlib.sha256(
            self.mean.tobytes() + self.whitening.tobytes()
        ).hexdigest()


_KNOWN: dict[str, Arrays] = {}  # by their checksums, so there is no other state


def remember(arrays: Arrays) -> str:
    """Keeps arrays for ``normalise``; returns their checksum for the config."""
    _KNOWN[arrays.checksum] = arrays
    return arrays.checksum


def read(workdir: Path, data: DataConfig) -> None:
    """Reads the arrays of a run, if its normalisation has any.

    Raises:
      UsageError: the file is not there, or is damaged.
    """
    if not data.arrays or data.arrays in _KNOWN:
        return
    path = workdir / FILE
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = Arrays(stored["mean"], stored["whitening"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: not readable ({error}); put it back") from None
    if arrays.checksum != data.arrays:
        raise UsageError(f"{path}: is not the file of this run; put it back")
    remember(arrays)


def write(workdir: Path, data: DataConfig) -> None:
    """Writes the arrays of a run into its directory, if its normalisation has any."""
    if not data.arrays:
        return
    arrays = _KNOWN[data.arrays]
    with replacing(workdir / FILE) as draft:
        np.savez(
            draft, allow_pickle=False, mean=arrays.mean, whitening=arrays.whitening
        )


def normalise(image: jax.Array, data: DataConfig) -> jax.Array:
    """Normalises images [B, H, W, C] from 0 to 255; float32.

    "channels": (image - mean) / std with a number for each channel. "mean_image": the
    mean of each pixel is subtracted. "gcn_zca": global contrast normalisation, then
    whitening of all pixels together.
    """
    image = image.astype(jnp.float32)
    if data.normalisation == "channels":
        return (image - jnp.array(data.mean)) * (1 / jnp.array(data.std))
    arrays = _KNOWN[data.arrays]
    if data.normalisation == "mean_image":
        return image - arrays.mean
    centred = normalise_contrast(image) - arrays.mean
    flat = centred.reshape(image.shape[0], -1)
    # Its largest elements are thousands of times the deviation of the result.
    white = jnp.dot(flat, arrays.whitening, precision=jax.lax.Precision.HIGHEST)
    return white.reshape(image.shape)


def channel_means(data: DataConfig) -> tuple[float, ...]:
    """Returns the mean of each channel of a mean image, for images of another size."""
    return tuple(map(float, _KNOWN[data.arrays].mean.mean(axis=(0, 1))))


def picture(image: jax.Array, data: DataConfig) -> jax.Array:
    """Undoes ``normalise`` to look at images; uint8 [B, H, W, C].

    Of "gcn_zca" it draws the whitened numbers themselves: 0 is gray, and three
    deviations are black or white.
    """
    if data.normalisation == "channels":
        image = image * jnp.array(data.std) + jnp.array(data.mean)
    elif data.normalisation == "mean_image":
        image = image + _KNOWN[data.arrays].mean
    else:
        image = 127.5 + 127.5 / 3 * image / image.std()
    return jnp.clip(jnp.round(image), 0, 255).astype(jnp.uint8)


def normalise_contrast(image: jax.Array) -> jax.Array:
    """Subtracts an image's mean over all channels, and scales it to the norm 55.

    Global contrast normalisation, as pylearn2's ``global_contrast_normalize``.
    """
    centred = image - image.mean(axis=(1, 2, 3), keepdims=True)
    norm = jnp.sqrt(jnp.square(centred).sum(axis=(1, 2, 3), keepdims=True)) / CONTRAST
    return centred / jnp.where(norm < SMALLEST_NORM, 1.0, norm)


def zca(covariance: np.ndarray) -> np.ndarray:
    """Returns (covariance + 0.1)^(-1/2), float32, by which pixels are whitened.

    Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images", Appendix
    A; the bias on the diagonal is pylearn2's.
    """
    values, vectors = np.linalg.eigh(covariance + ZCA_BIAS * np.eye(len(covariance)))
    return ((vectors / np.sqrt(values)) @ vectors.T).astype(np.float32)
