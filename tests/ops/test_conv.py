"""Convolutions against the plain form, for every shape in the catalogue."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnn_arch.models import create_model, layers
from cnn_arch.ops import conv
from tests.models.conftest import abstract_variables
from tests.ops.conftest import (
    TOLERANCE,
    compile_as_program,
    differentiate,
    draw,
    relative_error,
)
from tests.paper_tables import TOTALS


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

    def plain_form(x, kernel):
        return conv._plain_conv(x, kernel, *options)

    def own_form(x, kernel):
        return conv.convolve(x, kernel, *options)

    gradient = draw(rng, *jax.eval_shape(plain_form, x, kernel).shape)
    *expected, _ = differentiate(plain_form, (x, kernel), gradient)
    expected.append(kernel_gradient(x, kernel, gradient, *options))
    for precision, tolerance in TOLERANCE.items():
        dtype = jnp.dtype(precision)
        given = x.astype(dtype), kernel.astype(dtype)
        found = differentiate(own_form, given, gradient.astype(dtype))
        for values, right in zip(found, expected, strict=True):
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
# Of each convolution, that with the most input maps is among the fast tests.
FAST = {(*key[:2], numbers[-1], *key[2:]) for key, numbers in SMALL.items()}
TESTED = [
    pytest.param(
        shape, marks=[pytest.mark.slow] * ((*shape[0], *shape[1:-1]) not in FAST)
    )
    for shape in SHAPES
]


@pytest.mark.slow  # traces every network
def test_the_small_shapes_cover_the_catalogue():
    assert set(map(small, convolutions())) == set(SHAPES)


@pytest.mark.parametrize("shape", TESTED, ids=str)
def test_gradients_of_convolutions(shape):
    check_convolution(shape)


# Images, side of the maps, input maps, side of the kernel, stride. In float32, the last
# three are cut into parts of the images or of their rows. In bfloat16 with AMX, oneDNN
# errs for an even number of images below 16, if the gradient is the kernel as it is.
@pytest.mark.parametrize(
    "case",
    [
        (2, 32, 16, 3, 1),
        (8, 32, 3, 3, 1),
        (8, 28, 1, 5, 1),
        (12, 26, 1, 5, 1),
        (64, 28, 3, 3, 1),
        (4, 151, 3, 7, 2),
        (2, 149, 32, 3, 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("precision", TOLERANCE)
def test_the_gradient_of_a_kernel_in_parts_and_of_few_images(case, precision):
    images, side, inputs, window, stride = case
    rng, margin = np.random.default_rng(0), window // 2
    size = (side - 1) // stride + 1
    x = draw(rng, images, side, side, inputs)
    gradient = draw(rng, images, size, size, 8)
    kernel = np.zeros((window, window, inputs, 8), np.float32)
    padding = (margin, margin), (margin, margin)
    own_form = partial(conv._kernel_gradient, stride=stride, padding=padding)
    given = (jnp.asarray(array, precision) for array in (gradient, kernel, x))
    found = compile_as_program(own_form)(*given)
    exact = kernel_gradient(x, kernel, gradient, stride, padding, groups=1)
    assert relative_error(found, exact) < TOLERANCE[precision]


def orders(function, *arrays):
    """Returns the axes of maps, kernel and result of each compiled convolution."""
    program = jax.jit(function).lower(*arrays).compile().as_text() or ""
    return re.findall(r" convolution\(.*dim_labels=([^ ,]+)", program)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_convolutions_of_a_loop_have_axes_in_the_order_that_onednn_is_fast_for(
    dtype,
):
    """Outside of loops XLA puts them into this order itself."""

    def loss(kernels, x):
        def block(x, kernel):
            return conv.convolve(x, kernel, 1, ((1, 1), (1, 1)), 1), None

        return jax.lax.scan(block, x, kernels)[0].sum()

    kernels, x = jnp.zeros((3, 3, 3, 40, 40), dtype), jnp.zeros((2, 8, 8, 40), dtype)
    # Forward, and the gradients of the maps and of the kernel.
    assert orders(jax.grad(loss), kernels, x) == ["b01f_01io->b01f"] * 3


# Side of the maps, side of the kernel, stride: the maps, or those of the output, have
# fewer pixels than the kernel has taps.
@pytest.mark.parametrize("case", [(4, 5, 1), (2, 3, 1), (4, 3, 2), (1, 3, 1)], ids=str)
def test_xla_does_not_exchange_a_kernel_and_small_maps(case):
    side, window, stride = case
    margins = window // 2, window // 2
    shape = (side, side, 40), (window, window), stride, margins, 1, 8
    check_convolution(shape)

    def both(x, kernel, gradient):
        options = stride, tuple((margin, margin) for margin in margins)
        y = conv._cpu_conv(x, kernel, *options)
        return y, conv._input_gradient(gradient, kernel, x, *options)

    y_side = -(-side // stride)
    arrays = (2, side, side, 40), (window, window, 40, 8), (2, y_side, y_side, 8)
    # Forward, and a convolution for each phase of the maps' gradient.
    expected = ["b01f_01io->b01f"] * (1 + stride**2)
    assert orders(both, *map(jnp.zeros, arrays)) == expected


# Side of the maps, side of the kernel, stride, padding.
@pytest.mark.parametrize("case", [(12, 1, 1, 1), (12, 2, 1, 3), (13, 3, 2, 5)], ids=str)
def test_maps_padded_by_more_than_a_kernel_reads_are_cut_for_their_gradient(case):
    """With negative padding, XLA does not call oneDNN."""
    side, window, stride, margin = case
    check_convolution(((side, side, 5), (window, window), stride, (margin,) * 2, 1, 3))
    padding = ((margin, margin),) * 2
    y_side = (side + 2 * margin - window) // stride + 1
    shapes = (2, y_side, y_side, 3), (window, window, 5, 3), (2, side, side, 5)
    gradient = partial(conv._input_gradient, stride=stride, padding=padding)
    program = jax.make_jaxpr(gradient)(*map(jnp.zeros, shapes))
    paddings = [
        step.params["padding"]
        for step in program.jaxpr.eqns
        if step.primitive.name == "conv_general_dilated"
    ]
    assert np.shape(paddings) == (stride**2, 2, 2)
    assert np.min(paddings) >= 0


@pytest.mark.slow  # five minutes
def test_gradients_of_every_convolution():
    shapes = convolutions()
    assert len(shapes) > 200
    for shape in shapes:
        check_convolution(shape)
