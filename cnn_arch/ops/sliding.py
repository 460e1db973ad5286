"""Networks that slide over a whole image, in place of one image of a fixed size.

Simonyan and Zisserman 2014, Section 3.2: "the fully-connected layers are first
converted to convolutional layers ... applied to the whole (uncropped) image. The result
is a class score map". The layers of ``models/layers.py`` ask ``windows`` while they are
traced; parameters keep their shapes.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import jax

from cnn_arch.ops.conv import convolve

# Of each layer that averages a whole map, by its path: the side of the map that it has
# in training, which is the window that slides.
Windows = Mapping[str, int]
_windows: ContextVar[Windows | None] = ContextVar("_windows", default=None)


def windows() -> Windows | None:
    """Returns the windows if a network is traced that slides, else None."""
    return _windows.get()


@contextmanager
def sliding(windows: Windows) -> Iterator[None]:
    """Makes a network, while it is traced, slide over its images."""
    token = _windows.set(windows)
    try:
        yield
    finally:
        _windows.reset(token)


def flatten(x: jax.Array) -> jax.Array:
    """Returns maps as vectors [B, H * W * C], unless the network slides over them."""
    return x if windows() is not None else x.reshape(x.shape[0], -1)


def slide(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Applies a dense layer's kernel to maps [B, H, W, C], at each position.

    A kernel [s * s * C, features] reads a square of s x s positions, the whole map of
    one image in training: the layer after ``flatten``. Later layers have s = 1.

    Returns:
      Maps [B, H - s + 1, W - s + 1, features].
    """
    side = math.isqrt(kernel.shape[0] // x.shape[-1])
    kernel = kernel.reshape(side, side, x.shape[-1], -1)
    return convolve(x, kernel, 1, ((0, 0), (0, 0)), 1)
