"""The forms for CPUs against the plain ones, for every shape in the catalogue."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax
from jax.sharding import PartitionSpec as P

from cnn_arch.models import create_model, layers
from cnn_arch.ops import conv, pool_norm_relu
from tests.models.conftest import abstract_variables
from tests.paper_tables import TOTALS

# The largest relative error of a gradient. The plain form's own error is 3e-7 in
# float32 and 3e-3 in bfloat16, whose last bit is 4e-3.
TOLERANCE = {"float32": 2e-6, "bfloat16": 8e-3}


def convolutions():
    """Returns ((height, width, inputs), kernel, stride, margins, groups, features)."""
    found = set()

    def note(next_function, args, kwargs, context):
        module = context.module
        if isinstance(module, layers.Conv) and context.method_name == "__call__":
            kernel, margins = layers.pair(module.kernel_size), module.padding
            if margins is None:
                margins = kernel[0] // 2, kernel[1] // 2
            options = module.stride, layers.pair(margins), module.groups
            found.add((args[0].shape[1:], kernel, *options, module.features))
        return next_function(*args, **kwargs)

    for name, (_, _, image_size, channels, _) in TOTALS.items():
        if name != "resnet1202":  # the shapes of resnet20
            with nn.intercept_methods(note):
                abstract_variables(create_model(name), image_size, channels)
    return sorted(found)


def small(shape):
    """Shrinks maps and numbers of channels, but keeps the form that they get."""
    (*sides, inputs), kernel, stride, margins, groups, _ = shape
    sides = [
        min(side, window + 2 * stride + (side - window + 2 * margin) % stride)
        for side, window, margin in zip(sides, kernel, margins, strict=True)
    ]
    inputs = groups * min(inputs // groups, 40)
    return (*sides, inputs), kernel, stride, margins, groups, 8 * groups


def draw(rng, *shape):
    # Exact in bfloat16: all forms get the same numbers.
    return jnp.asarray(rng.standard_normal(shape), jnp.bfloat16).astype(jnp.float32)


def relative_error(values, expected):
    values, expected = (np.asarray(x, np.float64) for x in (values, expected))
    return np.linalg.norm(values - expected) / np.linalg.norm(expected)


def kernel_gradient(x, kernel, gradient, stride, padding, groups):
    """Sums outer products in float64; XLA's float32 sums err by 5e-6 on large maps."""
    x = np.pad(np.asarray(x, np.float64), ((0, 0), *padding, (0, 0)))
    rows, columns = (stride * (size - 1) + 1 for size in gradient.shape[1:3])
    expected = np.zeros(kernel.shape)
    for maps, y, part in zip(
        np.split(x, groups, axis=-1),
        np.split(np.asarray(gradient, np.float64), groups, axis=-1),
        np.split(expected, groups, axis=-1),
        strict=True,
    ):
        for i, j in np.ndindex(kernel.shape[:2]):
            view = maps[:, i : i + rows : stride, j : j + columns : stride]
            part[i, j] = np.tensordot(view, y, axes=((0, 1, 2), (0, 1, 2)))
    return expected


def check_convolution(shape):
    (*sides, inputs), kernel, stride, margins, groups, features = shape
    rng = np.random.default_rng(0)
    x = draw(rng, 2, *sides, inputs)
    kernel = draw(rng, *kernel, inputs // groups, features)
    options = stride, tuple((margin, margin) for margin in margins), groups

    @partial(jax.jit, static_argnums=0)
    def run(convolve, x, kernel, gradient):
        y, backward = jax.vjp(lambda *both: convolve(*both, *options), x, kernel)
        return y, *backward(gradient.astype(y.dtype))

    y = jax.eval_shape(lambda *both: conv.convolve(*both, *options), x, kernel)
    gradient = draw(rng, *y.shape)
    *expected, plain = run(conv._plain_conv, x, kernel, gradient)
    # Below OWN_BELOW input maps, the kernel's gradient is the plain form itself.
    is_plain = inputs // groups < conv.OWN_BELOW
    exact = kernel_gradient(x, kernel, gradient, *options)
    expected.append(plain if is_plain else exact)
    for precision, tolerance in TOLERANCE.items():
        given = [array.astype(precision) for array in (x, kernel, gradient)]
        for values, right in zip(run(conv.convolve, *given), expected, strict=True):
            assert values.dtype == precision
            assert relative_error(values, right) < tolerance, precision


# ``small`` of all convolutions of the catalogue: height, width, kernel, stride,
# margins, groups; numbers of input maps. The features are 8 for each group.
SMALL = {
    (3, 3, (1, 1), 1, (0, 0), 1): (40,),
    (3, 5, (1, 3), 1, (0, 1), 1): (40,),
    (3, 9, (1, 7), 1, (0, 3), 1): (40,),
    (5, 3, (3, 1), 1, (1, 0), 1): (40,),
    (5, 5, (3, 3), 1, (0, 0), 1): (32, 40),
    (5, 5, (3, 3), 1, (1, 1), 1): (3, 16, 24, 32, 40),
    (5, 5, (3, 3), 1, (1, 1), 2): (80,),
    (5, 5, (5, 5), 1, (0, 0), 1): (16, 40),
    (6, 6, (1, 1), 2, (0, 0), 1): (40,),
    (7, 7, (3, 3), 2, (0, 0), 1): (3, 40),
    (7, 7, (5, 5), 1, (0, 0), 1): (1, 6),
    (7, 7, (5, 5), 1, (2, 2), 1): (1, 3, 16, 24, 32, 40),
    (7, 7, (5, 5), 1, (2, 2), 2): (80,),
    (8, 8, (3, 3), 2, (1, 1), 1): (16, 32, 40),
    (9, 3, (7, 1), 1, (3, 0), 1): (40,),
    (9, 9, (5, 5), 2, (0, 0), 1): (40,),
    (12, 12, (7, 7), 2, (1, 1), 1): (3,),
    (12, 12, (7, 7), 2, (3, 3), 1): (3,),
    (19, 19, (11, 11), 4, (0, 0), 1): (3,),
    (20, 20, (11, 11), 4, (0, 0), 1): (3,),
    (20, 20, (11, 11), 4, (2, 2), 1): (3,),
}
SHAPES = [
    ((height, width, inputs), kernel, stride, margins, groups, 8 * groups)
    for (height, width, kernel, stride, margins, groups), numbers in SMALL.items()
    for inputs in numbers
]


@pytest.mark.slow  # traces every network
def test_the_small_shapes_cover_the_catalogue():
    assert set(map(small, convolutions())) == set(SHAPES)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_of_convolutions(shape):
    check_convolution(shape)


# The forms of a kernel's gradient; which one a batch gets depends on the processor too.
FORMS = {
    "columns": {"OWN_ELEMENTS": 0, "OWN_BATCH": 0},
    "taps": {"OWN_ELEMENTS": 0, "OWN_BATCH": 0, "SMALL_MAPS": 0},
    "own": {"OWN_ELEMENTS": 2**15, "OWN_BATCH": 2**20},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("window", [(3, 3), (5, 5), (1, 7), (7, 1)], ids=str)
def test_gradients_of_convolutions_in_each_form(monkeypatch, window, form):
    for name, limit in FORMS[form].items():
        monkeypatch.setattr(conv, name, limit)
    margins = tuple(size // 2 for size in window)
    check_convolution(((9, 8, 24), window, 1, margins, 1, 8))


@pytest.mark.slow  # five minutes
def test_gradients_of_every_convolution():
    shapes = convolutions()
    assert len(shapes) > 200
    for shape in shapes:
        check_convolution(shape)


@pytest.mark.parametrize(("window", "stride"), [(2, 2), (3, 2), (3, 1), (2, 3)])
@pytest.mark.parametrize("size", [7, 8])
def test_max_pool_and_its_gradient(window, stride, size):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 4, (2, size, size, 3)).astype(np.float32)  # with many ties
    length = (size - window) // stride + 1
    gradient = rng.standard_normal((2, length, length, 3)).astype(np.float32)
    expected, by_x = np.zeros_like(gradient), np.zeros_like(x)
    for n, i, j, c in np.ndindex(gradient.shape):
        rows, columns = (slice(k * stride, k * stride + window) for k in (i, j))
        values = x[n, rows, columns, c]
        expected[n, i, j, c] = values.max()
        first = np.unravel_index(values.argmax(), values.shape)
        by_x[n, rows, columns, c][first] += gradient[n, i, j, c]
    y, backward = jax.vjp(lambda x: pool_norm_relu.max_pool(x, window, stride), x)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_allclose(backward(jnp.asarray(gradient))[0], by_x, atol=1e-6)


@pytest.mark.parametrize("precision", TOLERANCE)
def test_relu_and_its_gradient(precision):
    rng = np.random.default_rng(0)
    x = draw(rng, 2, 5, 5, 6).astype(precision)
    edges = [0.0, -0.0, jnp.inf, -jnp.inf, 1e-30, -1e-30]
    x = x.at[0, 0, 0].set(jnp.asarray(edges, precision))
    gradient = draw(rng, *x.shape).astype(precision)
    y, backward = jax.vjp(pool_norm_relu.relu, x)
    is_positive = np.asarray(x, np.float32) > 0
    np.testing.assert_array_equal(y, np.where(is_positive, x, 0))
    np.testing.assert_array_equal(
        backward(gradient)[0], np.where(is_positive, gradient, 0)
    )
    assert jnp.isnan(pool_norm_relu.relu(jnp.full(4, jnp.nan, precision))).all()


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("pixels", [(3, 20, 20), (1, 1, 17), (5, 1, 3)], ids=str)
def test_bias_and_its_gradient(pixels, precision):
    rng = np.random.default_rng(0)
    x, bias = draw(rng, *pixels, 6).astype(precision), draw(rng, 6)
    gradient = draw(rng, *x.shape).astype(precision)
    y, backward = jax.vjp(pool_norm_relu.add_bias, x, bias)
    by_x, by_bias = backward(gradient)
    assert y.dtype == by_x.dtype == precision
    assert by_bias.dtype == jnp.float32
    np.testing.assert_array_equal(y, x + bias.astype(precision))
    np.testing.assert_array_equal(by_x, gradient)
    right = np.asarray(gradient, np.float64).sum(axis=(0, 1, 2))
    np.testing.assert_allclose(by_bias, right, atol=1e-4)


@pytest.mark.parametrize("precision", TOLERANCE)
def test_batch_norm_and_its_gradient(precision):
    rng = np.random.default_rng(0)
    x, gradient = 2 * draw(rng, 8, 5, 5, 6), draw(rng, 8, 5, 5, 6)
    scale, bias = draw(rng, 6), draw(rng, 6)
    flax: Any = nn.BatchNorm(use_running_average=False, momentum=0.9, epsilon=1e-5)
    ours: Any = layers.BatchNorm(True, None, 1e-5, precision)
    statistics = {"mean": jnp.zeros(6), "var": jnp.ones(6)}

    def run(layer: Any, x: jax.Array) -> Any:
        def apply(x, scale, bias):
            params = {"scale": scale, "bias": bias}
            variables = {"params": params, "batch_stats": statistics}
            y, updates = layer.apply(variables, x, mutable=["batch_stats"])
            return y, updates["batch_stats"]

        return jax.vjp(apply, x, scale, bias, has_aux=True)

    y, backward, running = run(flax, x)
    y2, backward2, running2 = run(ours, x.astype(precision))
    assert y2.dtype == precision
    assert relative_error(y2, y) < TOLERANCE[precision]
    for name in statistics:
        np.testing.assert_allclose(running2[name], running[name], rtol=2e-6)
    gradients = backward2(gradient.astype(precision))
    for values, right in zip(gradients, backward(gradient), strict=True):
        assert relative_error(values, right) < TOLERANCE[precision]


@pytest.mark.parametrize("ratio", [0, 10, 100, 1000])
@pytest.mark.parametrize("precision", TOLERANCE)
def test_the_error_of_the_variance_has_its_bound(precision, ratio):
    """The bound of training/statistics.py; Flax's BatchNorm has the same error."""
    x = draw(np.random.default_rng(0), 32, 16, 16, 8) + ratio
    x = x.astype(precision)
    ones, zeros = jnp.ones(8), jnp.zeros(8)
    _, mean, variance = pool_norm_relu.batch_norm(x, ones, zeros, 1e-5, None)
    exact = np.asarray(x.astype(jnp.float32), np.float64)
    right = exact.var(axis=(0, 1, 2))
    bound = 8 * 2.0**-24 * (1 + ratio**2 / right)
    assert (np.abs(np.asarray(variance) / right - 1) < bound).all()
    np.testing.assert_allclose(mean, exact.mean(axis=(0, 1, 2)), rtol=1e-5, atol=1e-6)


def test_batch_norm_over_devices():
    rng = np.random.default_rng(0)
    x, gradient = draw(rng, 8, 3, 3, 4), draw(rng, 8, 3, 3, 4)
    scale, bias = draw(rng, 4), draw(rng, 4)

    def run(axis, x, gradient):
        def normalise(x, scale, bias):
            return pool_norm_relu.batch_norm(x, scale, bias, 1e-5, axis)[0]

        y, backward = jax.vjp(normalise, x, scale, bias)
        by_x, by_scale, by_bias = backward(gradient)
        if axis:
            by_scale, by_bias = lax.psum((by_scale, by_bias), axis)
        return y, by_x, by_scale, by_bias

    whole = run(None, x, gradient)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    shared = jax.shard_map(
        partial(run, "data"),
        mesh=mesh,
        in_specs=P("data"),
        out_specs=(P("data"), P("data"), P(), P()),
        check_vma=False,
    )(x, gradient)
    for values, right in zip(shared, whole, strict=True):
        assert relative_error(values, right) < 1e-6
