"""ReLU, biases and BatchNorm against NumPy and Flax."""

import json
import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax
from jax.sharding import PartitionSpec as P

from cnn_arch import processor
from cnn_arch.models import layers
from cnn_arch.ops import conv, norm_relu
from tests.ops.conftest import (
    TOLERANCE,
    compile_as_program,
    differentiate,
    draw,
    relative_error,
)


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("shape", [(2, 5, 5, 6), (2, 5, 5, 32), (2, 6)], ids=str)
def test_relu_and_its_gradient(shape, precision):
    rng = np.random.default_rng(0)
    x = draw(rng, *shape).astype(jnp.dtype(precision))
    x.flat[:6] = [0.0, -0.0, np.inf, -np.inf, 1e-30, -1e-30]
    gradient = draw(rng, *x.shape).astype(x.dtype)
    y, by_x = differentiate(norm_relu.relu, (x,), gradient)
    is_positive = x.astype(np.float32) > 0
    np.testing.assert_array_equal(y, np.where(is_positive, x, 0))
    np.testing.assert_array_equal(by_x, np.where(is_positive, gradient, 0))
    assert jnp.isnan(norm_relu.relu(jnp.full(4, jnp.nan, precision))).all()


@pytest.mark.parametrize(("channels", "loop"), [(16, "2,8,128"), (32, "2,8,8,32")])
def test_narrow_maps_are_computed_in_rows(channels, loop):
    """XLA vectorises the last axis alone, and not if it has few elements."""

    def layer(x: jax.Array, shortcut: jax.Array) -> jax.Array:
        ones = jnp.ones(channels)
        y, _, _ = norm_relu.batch_norm(x, ones, ones, 1e-5, None)
        return norm_relu.relu(y + shortcut)

    def backward(x: jax.Array, shortcut: jax.Array, gradient: jax.Array) -> Any:
        return jax.vjp(layer, x, shortcut)[1](gradient)

    x = jnp.zeros((2, 8, 8, channels))
    program = str(jax.jit(backward).lower(x, x, x).compile().as_text())
    entry = program[program.index("ENTRY") :]
    shapes = re.findall(r"f32\[([\d,]+)\]\S* fusion\(", entry)
    maps = [shape for shape in shapes if np.prod(json.loads(f"[{shape}]")) == x.size]
    assert maps and set(maps) == {loop}


@pytest.mark.skipif(processor.vector_unit() == "unknown", reason="needs oneDNN's calls")
@pytest.mark.parametrize("channels", [16, 32])
@pytest.mark.parametrize("precision", TOLERANCE)
def test_a_convolution_of_an_evaluation_has_its_bias_and_relu(precision, channels):
    def layer(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
        y = conv.convolve(x, kernel, 1, ((1, 1), (1, 1)), 1)
        return norm_relu.relu(norm_relu.add_bias(y, bias))

    shapes = (2, 8, 8, channels), (3, 3, channels, channels)
    arrays = [jnp.zeros(shape, precision) for shape in shapes]
    compiled = compile_as_program(layer).lower(*arrays, jnp.zeros(channels)).compile()
    program = str(compiled.as_text())
    assert "__onednn$convolution" in program
    assert " maximum(" not in program and " add(" not in program


@pytest.mark.parametrize(("platform", "dtype"), [("cpu", "f32"), ("cuda", "bf16")])
def test_a_relu_of_bfloat16_suits_the_libraries(platform, dtype):
    """Only in float32 do oneDNN's convolutions have it; a GPU gets the plain one."""
    traced = jax.jit(norm_relu.relu).trace(jnp.zeros((2, 3), jnp.bfloat16))
    program = traced.lower(lowering_platforms=(platform,)).as_text()
    (line,) = [line for line in program.splitlines() if "stablehlo.maximum" in line]
    assert line.endswith(f"tensor<2x3x{dtype}>")


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("pixels", [(3, 20, 20), (1, 1, 17), (5, 1, 3)], ids=str)
def test_bias_and_its_gradient(pixels, precision):
    rng = np.random.default_rng(0)
    x, bias = draw(rng, *pixels, 6).astype(jnp.dtype(precision)), draw(rng, 6)
    gradient = draw(rng, *x.shape).astype(x.dtype)
    y, by_x, by_bias = differentiate(norm_relu.add_bias, (x, bias), gradient)
    assert y.dtype == by_x.dtype == x.dtype
    assert by_bias.dtype == jnp.float32
    np.testing.assert_array_equal(y, x + bias.astype(x.dtype))
    np.testing.assert_array_equal(by_x, gradient)
    right = np.asarray(gradient, np.float64).sum(axis=(0, 1, 2))
    np.testing.assert_allclose(by_bias, right, atol=1e-4)


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("shape", [(8, 5, 5, 6), (8, 5, 5, 32), (64, 6)], ids=str)
def test_batch_norm_and_its_gradient(shape, precision):
    rng = np.random.default_rng(0)
    x, gradient = 2 * draw(rng, *shape), draw(rng, *shape)
    channels = shape[-1]
    scale, bias = draw(rng, channels), draw(rng, channels)
    flax: Any = nn.BatchNorm(use_running_average=False, momentum=0.9, epsilon=1e-5)
    ours: Any = layers.BatchNorm(True, None, 1e-5, precision)
    statistics = {"mean": np.zeros(channels), "var": np.ones(channels)}
    statistics = {name: x.astype(np.float32) for name, x in statistics.items()}

    @partial(jax.jit, static_argnums=0)
    def run(layer: Any, x: jax.Array, gradient: jax.Array) -> Any:
        def apply(x, scale, bias):
            params = {"scale": scale, "bias": bias}
            variables = {"params": params, "batch_stats": statistics}
            y, updates = layer.apply(variables, x, mutable=["batch_stats"])
            return y, updates["batch_stats"]

        y, backward, running = jax.vjp(apply, x, scale, bias, has_aux=True)
        return (y, *backward(gradient)), running

    (y, *expected), running = run(flax, x, gradient)
    dtype = jnp.dtype(precision)
    (y2, *found), running2 = run(ours, x.astype(dtype), gradient.astype(dtype))
    assert y2.dtype == precision
    assert relative_error(y2, y) < TOLERANCE[precision]
    for name in statistics:
        np.testing.assert_allclose(running2[name], running[name], rtol=2e-6)
    for values, right in zip(found, expected, strict=True):
        assert relative_error(values, right) < TOLERANCE[precision]


@pytest.mark.parametrize("ratio", [0, 10, 100, 1000])
@pytest.mark.parametrize("precision", TOLERANCE)
def test_the_error_of_the_variance_has_its_bound(precision, ratio):
    """The bound of training/statistics.py; Flax's BatchNorm has the same error."""
    x = draw(np.random.default_rng(0), 32, 16, 16, 8) + np.float32(ratio)
    x = x.astype(jnp.dtype(precision))
    norm = jax.jit(partial(norm_relu.batch_norm, epsilon=1e-5, axis=None))
    _, mean, variance = norm(x, np.ones(8, np.float32), np.zeros(8, np.float32))
    exact = x.astype(np.float64)
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
            return norm_relu.batch_norm(x, scale, bias, 1e-5, axis)[0]

        y, backward = jax.vjp(normalise, x, scale, bias)
        by_x, by_scale, by_bias = backward(gradient)
        if axis:
            by_scale, by_bias = lax.psum((by_scale, by_bias), axis)
        return y, by_x, by_scale, by_bias

    whole = jax.jit(partial(run, None))(x, gradient)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.shard_map(
        partial(run, "data"),
        mesh=mesh,
        in_specs=P("data"),
        out_specs=(P("data"), P("data"), P(), P()),
        check_vma=False,
    )
    shared = jax.jit(spread)(x, gradient)
    for values, right in zip(shared, whole, strict=True):
        assert relative_error(values, right) < 1e-6
