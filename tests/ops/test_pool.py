"""Pools and their gradients against NumPy, and the loops that compute them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_arch.ops.platform import plain_forms
from cnn_arch.ops.pool import avg_pool, max_pool
from tests.ops.conftest import (
    TOLERANCE,
    compile_as_program,
    differentiate,
    draw,
    relative_error,
)

NONE = (0, 0), (0, 0)
WINDOWS = [(2, 2, NONE), (3, 2, NONE), (3, 1, NONE), (2, 3, NONE)]
# On one side, on both sides, more than a stride, and rows unlike columns.
WINDOWS += [(3, 2, ((0, 1), (0, 1))), (3, 1, ((1, 1), (1, 1)))]
WINDOWS += [(3, 1, ((2, 2), (2, 1))), (3, 2, ((1, 2), (0, 1)))]


def windows(shape, window, stride, padding):
    """Yields a position of the output, and the slice of padded maps that it reads."""
    lengths = [
        (size + sum(margin) - window) // stride + 1
        for size, margin in zip(shape[1:3], padding, strict=True)
    ]
    for n, i, j, c in np.ndindex(shape[0], *lengths, shape[3]):
        rows, columns = (slice(k * stride, k * stride + window) for k in (i, j))
        yield (n, i, j, c), (n, rows, columns, c)


def pad(x, padding, value):
    return np.pad(x, [(0, 0), *padding, (0, 0)], constant_values=value)


def draw_gradient(rng, shape, *given):
    last = max(place for place, _ in windows(shape, *given))
    return draw(rng, *(index + 1 for index in last))


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("given", WINDOWS, ids=str)
@pytest.mark.parametrize("size", [7, 8])
def test_max_pool_and_its_gradient(given, size, precision):
    rng = np.random.default_rng(0)
    x = rng.integers(-4, 0, (2, size, size + 1, 3)).astype(np.float32)  # many ties
    gradient = draw_gradient(rng, x.shape, *given)
    padded = pad(x, given[2], -np.inf)
    expected, by_padded = np.zeros_like(gradient), np.zeros_like(padded)
    for place, seen in windows(x.shape, *given):
        expected[place] = padded[seen].max()
        first = np.unravel_index(padded[seen].argmax(), padded[seen].shape)
        by_padded[seen][first] += gradient[place]
    (top, _), (left, _) = given[2]
    by_x = by_padded[:, top : top + size, left : left + size + 1]
    y, found = differentiate(
        lambda x: max_pool(x, *given), (x.astype(jnp.dtype(precision)),), gradient
    )
    np.testing.assert_array_equal(y.astype(np.float32), expected)
    assert relative_error(found, by_x) < TOLERANCE[precision]
    if precision == "float32":
        np.testing.assert_allclose(found, by_x, atol=1e-6)


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("given", WINDOWS, ids=str)
@pytest.mark.parametrize("count_padding", [True, False])
def test_avg_pool_and_its_gradient(given, count_padding, precision):
    rng = np.random.default_rng(0)
    x = draw(rng, 2, 7, 8, 3)
    gradient = draw_gradient(rng, x.shape, *given)
    padded, own = pad(x, given[2], 0), pad(np.ones_like(x), given[2], 0)
    expected, by_padded = np.zeros_like(gradient), np.zeros_like(padded)
    for place, seen in windows(x.shape, *given):
        number = given[0] ** 2 if count_padding else own[seen].sum()
        expected[place] = padded[seen].sum() / number
        by_padded[seen] += gradient[place] / number
    (top, _), (left, _) = given[2]
    by_x = by_padded[:, top : top + 7, left : left + 8]
    y, found = differentiate(
        lambda x: avg_pool(x, *given, count_padding=count_padding),
        (x.astype(jnp.dtype(precision)),),
        gradient,
    )
    assert y.dtype == found.dtype == jnp.dtype(precision)
    assert relative_error(y, expected) < TOLERANCE[precision]
    assert relative_error(found, by_x) < TOLERANCE[precision]


@pytest.mark.parametrize("given", WINDOWS, ids=str)
def test_the_plain_forms_of_gpus_and_exports(given):
    x = -1 - np.random.default_rng(0).random((2, 7, 8, 3)).astype(np.float32)
    inside = pad(np.ones_like(x), given[2], 0)
    pools = max_pool, partial(avg_pool, count_padding=True)
    pools = *pools, partial(avg_pool, count_padding=False)
    with plain_forms():
        found = [pool(jnp.asarray(x), *given) for pool in pools]
    for place, seen in windows(x.shape, *given):
        values = pad(x, given[2], 0)[seen]
        expected = pad(x, given[2], -np.inf)[seen].max(), values.mean()
        expected = *expected, values.sum() / inside[seen].sum()
        for y, value in zip(found, expected, strict=True):
            np.testing.assert_allclose(y[place], value, rtol=1e-5)


def test_a_pools_gradient_is_computed_once():
    """Not again at each pixel of a window, in the loop that adds the windows."""

    def power_of_maxima(x: jax.Array) -> jax.Array:
        return (max_pool(x, 3, 2, NONE) ** 3).sum()

    x = jnp.zeros((2, 9, 9, 4))
    program = jax.jit(jax.grad(power_of_maxima)).lower(x).compile()
    loops = str(program.as_text()).split("\n\n")  # one for each computation
    assert sum(" multiply(" in loop for loop in loops) == 1
    (adds,) = [loop for loop in loops if " pad(" in loop]
    assert " multiply(" not in adds


@pytest.mark.parametrize("pool", [max_pool, partial(avg_pool, count_padding=True)])
def test_a_padded_pool_is_two_loops_that_pad(pool):
    """First of columns, then of rows; padded maps are not stored."""
    x = jnp.zeros((2, 9, 9, 4), jnp.bfloat16)
    program = compile_as_program(lambda x: pool(x, 3, 2, ((1, 1), (1, 1))))
    text = str(program.lower(x).compile().as_text())
    assert " pad(" in text
    assert "[2,11,11,4]" not in text
    assert "reduce-window" not in text
    assert text.partition("\nENTRY")[2].count(" fusion(") == 2
