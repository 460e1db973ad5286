"""Which form of an operation a program gets: the CPU's own, or the plain one.

``jax.lax.platform_dependent`` chooses when the program is lowered: a CPU gets its own
form, a GPU or TPU gets XLA's operation and its gradient.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
from jax import lax

_PLAIN_ONLY = ContextVar("_PLAIN_ONLY", default=False)


@contextmanager
def plain_forms() -> Iterator[None]:
    """Traces the plain forms alone, for readers and converters of programs."""
    token = _PLAIN_ONLY.set(True)
    try:
        yield
    finally:
        _PLAIN_ONLY.reset(token)


def choose(cpu: Any, plain: Any, *arrays: jax.Array) -> Any:
    """Applies the form of the platform for which the program will be lowered."""
    if _PLAIN_ONLY.get():
        return plain(*arrays)
    return lax.platform_dependent(*arrays, cpu=cpu, default=plain)


def views(x: jax.Array, window: tuple[int, int], stride: int) -> list[jax.Array]:
    """Returns the pixels of maps [B, H, W, C] at each position of a moving window."""
    height, width = window
    bottom, right = x.shape[1] - height + 1, x.shape[2] - width + 1
    return [
        x[:, i : i + bottom : stride, j : j + right : stride]
        for i in range(height)
        for j in range(width)
    ]


def largest_divisor(number: int, most: int) -> int:
    """Returns the largest divisor of a number that is at most ``most``, or 1."""
    return next((n for n in range(most, 1, -1) if number % n == 0), 1)


def in_memory(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Makes a CPU store arrays, so XLA fuses no producer with a reader of them."""

    def cpu(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        return lax.optimization_barrier(arrays)

    return choose(cpu, lambda *arrays: arrays, *arrays)
