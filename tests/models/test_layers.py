"""The shared layers against NumPy and PyTorch's documented rules."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from cnn_arch.models import layers
from cnn_arch.parallel.mesh import make_mesh


def draw(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def convolve(x, kernel, stride, padding, groups):
    """Sums products window by window, as the definition says."""
    x = np.pad(x, ((0, 0), padding, padding, (0, 0))).astype(np.float64)
    size, _, inputs, outputs = kernel.shape
    length = (x.shape[1] - size) // stride + 1
    y = np.zeros((len(x), length, length, outputs))
    for row, column, output in np.ndindex(y.shape[1:]):
        top, left = row * stride, column * stride
        first = output // (outputs // groups) * inputs
        window = x[:, top : top + size, left : left + size, first : first + inputs]
        products = window * kernel[..., output]
        y[:, row, column, output] = products.sum(axis=(1, 2, 3))
    return y


@pytest.mark.parametrize(
    ("size", "stride", "padding", "groups"),
    [(3, 1, None, 1), (3, 2, 1, 1), (5, 1, None, 2), (4, 3, 0, 1), (1, 2, 0, 1)],
)
def test_conv(size, stride, padding, groups):
    x = draw(2, 9, 9, 4)
    ones = jax.nn.initializers.ones
    conv: Any = layers.Conv(6, size, stride, padding, groups, bias_init=ones)
    variables = jax.jit(conv.init)(jax.random.key(0), x)
    kernel = np.asarray(variables["params"]["kernel"])
    assert kernel.shape == (size, size, 4 // groups, 6)
    margin = size // 2 if padding is None else padding
    expected = convolve(x, kernel, stride, (margin, margin), groups) + 1
    np.testing.assert_allclose(jax.jit(conv.apply)(variables, x), expected, atol=1e-5)


@pytest.mark.parametrize(("size", "stride"), [(2, 1), (3, 2)])
def test_conv_refuses_ambiguous_padding(size, stride):
    with pytest.raises(AssertionError, match="padding is ambiguous"):
        layers.Conv(1, size, stride).init(jax.random.key(0), draw(1, 4, 4, 1))


def test_the_activation_applies_to_the_output():
    x = draw(2, 5)
    dense: Any = layers.Dense(3, jax.nn.relu)
    variables: Any = dense.init(jax.random.key(0), x)
    expected = np.maximum(x @ variables["params"]["kernel"], 0)
    np.testing.assert_allclose(dense.apply(variables, x), expected, atol=1e-6)


def pool(x, reduce, fill, window, stride, padding, ceil_mode):
    """Pools as PyTorch's documentation defines it."""
    size = x.shape[1]
    steps = (size + 2 * padding - window) / stride
    length = int(np.ceil(steps) if ceil_mode else np.floor(steps)) + 1
    padded = np.full((len(x), size + 99, size + 99, x.shape[3]), fill, np.float64)
    padded[:, padding : padding + size, padding : padding + size] = x
    y = np.zeros((len(x), length, length, x.shape[3]))
    for row, column in np.ndindex(length, length):
        top, left = row * stride, column * stride
        view = padded[:, top : top + window, left : left + window]
        y[:, row, column] = reduce(view, axis=(1, 2))
    return y


# Image size; window, stride, padding, ceil_mode.
POOLS = [(7, (3, 2, 0, False)), (7, (2, 2, 0, True)), (8, (3, 2, 0, True))]
POOLS += [(5, (3, 1, 1, False)), (8, (3, 2, 1, False)), (2, (3, 2, 0, True))]
POOLS += [(14, (5, 3, 0, False))]


@pytest.mark.parametrize(("size", "options"), POOLS)
def test_max_pool(size, options):
    x = draw(2, size, size, 3)
    module: Any = layers.MaxPool(*options)
    expected = pool(x, np.max, -np.inf, *options)
    np.testing.assert_array_equal(jax.jit(module.apply)({}, x), expected)


@pytest.mark.parametrize(("size", "options"), POOLS)
@pytest.mark.parametrize("count_padding", [True, False])
def test_avg_pool(size, options, count_padding):
    x = draw(2, size, size, 3)
    module: Any = layers.AvgPool(*options, count_padding=count_padding)
    reduce, fill = (np.mean, 0.0) if count_padding else (np.nanmean, np.nan)
    expected = pool(x, reduce, fill, *options)
    np.testing.assert_allclose(jax.jit(module.apply)({}, x), expected, atol=1e-6)


@pytest.mark.parametrize("groups", [1, 2])
def test_local_response_norm(groups):
    x = 30 * draw(2, 3, 3, 12)  # large enough for the denominator to matter
    expected = np.zeros_like(x)
    per_group = 12 // groups
    for i in range(12):
        start = i // per_group * per_group
        first, last = max(start, i - 2), min(start + per_group - 1, i + 2)
        total = np.square(x[..., first : last + 1]).sum(axis=-1)
        expected[..., i] = x[..., i] / (2 + 1e-4 * total) ** 0.75
    module: Any = layers.LocalResponseNorm(groups)
    normed = jax.jit(module.apply)({}, x)
    np.testing.assert_allclose(normed, expected, rtol=1e-5)
    assert np.abs(normed / x).min() < 0.5


def test_conv_bn_normalises_then_rectifies():
    x = draw(8, 4, 4, 3)
    norm = layers.batch_norm(train=True, axis=None, epsilon=1e-3, dtype=jnp.float32)
    module: Any = layers.ConvBN(5, 1, norm=norm)
    variables = jax.jit(module.init)(jax.random.key(0), x)
    assert set(variables["params"]["conv"]) == {"kernel"}
    apply = jax.jit(module.apply, static_argnames="mutable")
    y, updates = apply(variables, x, mutable=("batch_stats",))
    maps = x @ np.asarray(variables["params"]["conv"]["kernel"])[0, 0]
    mean, variance = maps.mean(axis=(0, 1, 2)), maps.var(axis=(0, 1, 2))
    expected = np.maximum((maps - mean) / np.sqrt(variance + 1e-3), 0)
    np.testing.assert_allclose(y, expected, atol=1e-4)
    stats = updates["batch_stats"]["bn"]
    np.testing.assert_allclose(stats["mean"], 0.1 * mean, atol=1e-6)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * variance, rtol=1e-4)


def drop(x, mesh_shape, rows, own_features):
    """Applies dropout to rows and features that are spread over a mesh."""
    layer = layers.Dropout(0.25, False, rows=rows, own_features=own_features)
    mesh = make_mesh(*mesh_shape)
    spec = P(rows, *[None] * (x.ndim - 2), "model" if own_features else None)

    def apply(x):
        return layer.apply({}, x, rngs={"dropout": jax.random.key(3)})

    spread = jax.shard_map(
        apply, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False
    )
    return np.asarray(jax.jit(spread)(x))


def test_dropout_keeps_its_share_and_the_mean():
    x = jnp.full((64, 32, 32), 3.0)
    layer = layers.Dropout(0.25, deterministic=False)
    y = np.asarray(layer.apply({}, x, rngs={"dropout": jax.random.key(0)}))
    assert set(np.unique(y)) == {0.0, 4.0}
    # 65,536 draws: three standard deviations are 0.005.
    np.testing.assert_allclose((y == 0).mean(), 0.25, atol=0.005)
    kept = (y > 0).reshape(64, -1).astype(np.float64)
    # Any two rows drop other units.
    assert np.abs(np.corrcoef(kept) - np.eye(64)).max() < 0.2
    for rate, deterministic in ((0.25, True), (0.0, False)):
        unchanged = layers.Dropout(rate, deterministic).apply({}, x)
        np.testing.assert_array_equal(unchanged, x)


@pytest.mark.parametrize(
    ("mesh_shape", "rows", "own_features"),
    [
        ((8, 1), ("data",), False),
        ((2, 4), ("data",), True),
        ((1, 8), ("data",), True),
        ((2, 4), ("data", "model"), False),
    ],
)
def test_dropout_is_the_same_on_any_mesh(mesh_shape, rows, own_features):
    x = draw(16, 3, 3, 8)
    one = drop(x, (1, 1), ("data",), False)
    np.testing.assert_array_equal(drop(x, mesh_shape, rows, own_features), one)
    layer = layers.Dropout(0.25, deterministic=False)
    alone: Any = layer.apply({}, x, rngs={"dropout": jax.random.key(3)})
    np.testing.assert_allclose(alone, one, rtol=1e-6)
