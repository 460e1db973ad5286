"""Receptive fields, compared with published ones and with gradients."""

import math
from pathlib import PurePosixPath

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_arch.costs.layers import layer_costs
from cnn_arch.costs.receptive_field import Span, in_a_row, join
from cnn_arch.models import create_model, init_variables, layer_output
from tests.models.conftest import mark_slow

# A. Araujo, W. Norris, J. Sim, "Computing Receptive Fields of Convolutional Neural
# Networks", Distill 2019, and the table of google-research/receptive_field, which has
# the networks of TF-Slim. Its ResNets halve the map in the last block of a stage, the
# paper's (here resnet50) in the first 1x1 of the next stage: the fields are the same.
PUBLISHED = {
    "alexnet": "conv1 11 pool1 19 conv2 51 conv3 99 conv4 131 conv5 163 pool5 195",
    "vgg11": "pool5 150",
    "vgg16": "pool1 6 pool2 16 pool3 44 pool4 100 conv5_2 164 pool5 212",
    "inception_v3": (
        "Mixed_5d 127 Mixed_6a 159 Mixed_6e 927 Mixed_7a 1055 Mixed_7c 1311"
    ),
    "inception_v4": (
        "Mixed_5e 183 Mixed_6a 215 Mixed_6h 1559 Mixed_7a 1687 Mixed_7d 2071"
    ),
    "resnet50": "conv5_3 483",
    "resnet101": "conv5_3 1027",
    "resnet152": "conv5_3 1507",
    # torchvision's ResNets halve it in the 3x3 of a stage's first block, and this 3x3
    # still has the finer stride: 2 x (4 + 8 + 16) = 56 px less.
    "resnet50_v1_5": "conv5_3 427",
    "resnet101_v1_5": "conv5_3 971",
    "resnet152_v1_5": "conv5_3 1451",
    # A 3x3 at stride 1, and 2 px more for each of 2n convolutions, times the stride.
    "resnet20": "conv2_3 15 conv3_3 37 conv4_3 81",
}
IMAGE_SIZES = {"alexnet": 227, "inception_v3": 299, "inception_v4": 299, "resnet20": 32}


def last_rows(model, image_size, channels=3):
    """Returns the last row of each module, by the module's path."""
    return {
        str(path): row
        for row in layer_costs(model, image_size, channels)
        for path in (PurePosixPath(row.name), *PurePosixPath(row.name).parents)
    }


@pytest.mark.parametrize("name", mark_slow(PUBLISHED, {*PUBLISHED} - {"inception_v3"}))
def test_published_fields(name):
    rows = last_rows(create_model(name), IMAGE_SIZES.get(name, 224))
    words = PUBLISHED[name].split()
    for layer, field in zip(words[::2], words[1::2], strict=True):
        assert rows[layer].receptive_field == int(field), layer


def test_the_arithmetic():
    # d2l and Distill by hand: 7x7 stride 2 padding 3, then 3x3 stride 2 padding 1.
    span = Span().window(7, 2, 3)
    assert span == Span(7, 2, -3)
    assert span.window(3, 2, 1) == Span(11, 4, -5)
    assert Span().window(3, dilation=2) == Span(5, 1, 0)
    assert Span(5, 2, -2).cut(3, 2) == Span(5, 4, 4)
    assert join([Span(1, 2, 0), Span(7, 2, -3)]) == Span(7, 2, -3)
    # The means of pixels 0 to 3 and of 4 to 7, concatenated.
    assert in_a_row([Span(4, 1, 0), Span(4, 1, 4)], [1, 1]) == Span(4, 4, 0)


def positive_variables(model, image_size, channels):
    """Returns variables for which every path has a gradient.

    Kernels are positive, so no ReLU is off, and sum to about one for each output.
    """
    random = np.random.default_rng(0)

    def positive(path, leaf):
        if path[-1].key in ("bias", "mean"):
            return np.zeros(leaf.shape, np.float32)
        if leaf.ndim == 1:
            return np.ones(leaf.shape, np.float32)
        fan_in = math.prod(leaf.shape[:-1])
        return random.uniform(0.5, 1.5, leaf.shape).astype(np.float32) / fan_in

    shapes = jax.eval_shape(
        lambda key: init_variables(model, key, image_size, channels), jax.random.key(0)
    )
    return jax.tree_util.tree_map_with_path(positive, shapes)


def seen_pixels(model, variables, layer, at, image_size, channels):
    """Returns which pixels have a gradient, bool [H, W], for one output position.

    A maximum passes its gradient to one pixel. With 6 images, and all maps with random
    weights, each pixel of a window is the largest somewhere.
    """
    random = np.random.default_rng(1)
    shape = (6, image_size, image_size, channels)
    images = jnp.asarray(random.uniform(0.5, 1.5, shape), jnp.float32)

    def outputs(images):
        return layer_output(model, variables, images, layer)[:, at[0], at[1]]

    maps = jax.eval_shape(outputs, images).shape[-1]
    weights = jnp.asarray(random.uniform(0.5, 1.5, maps), jnp.float32)
    gradient = jax.jit(jax.grad(lambda images: (outputs(images) * weights).sum()))
    return np.asarray((gradient(images) != 0).any(axis=(0, 3)))


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "image_size", "channels", "layer", "at", "holes"),
    [
        ("lenet", 28, 1, "conv1", (0, 5), False),
        ("lenet", 28, 1, "pool2", (2, 2), False),
        ("lenet5", 32, 1, "S4", (1, 3), False),
        pytest.param("resnet20", 32, 3, "conv2_2", (15, 15), False, marks=SLOW),
        pytest.param("resnet20", 32, 3, "conv3_1", (8, 7), False, marks=SLOW),
        ("resnet20", 32, 3, "conv4_1", (0, 7), False),
        ("alexnet", 99, 3, "conv2", (4, 5), True),
        pytest.param("alexnet", 99, 3, "pool2", (2, 1), True, marks=SLOW),
        pytest.param("zfnet", 99, 3, "conv2", (4, 5), True, marks=SLOW),
        ("nin_cifar", 32, 3, "mlpconv1", (9, 9), False),
        ("nin_cifar", 32, 3, "mlpconv2", (15, 15), True),
        pytest.param("resnet50", 64, 3, "conv3_1", (4, 4), True, marks=SLOW),
        pytest.param("googlenet", 64, 3, "inception_3a", (4, 3), True, marks=SLOW),
        pytest.param("resnet50_v1_5", 64, 3, "conv3_1", (4, 4), True, marks=SLOW),
        pytest.param("inception_v3", 79, 3, "Mixed_5b", (3, 3), True, marks=SLOW),
    ],
)
def test_gradients_are_where_the_field_is(name, image_size, channels, layer, at, holes):
    heads = {"aux_heads": False} if "inception" in (name + layer) else {}
    model = create_model(name, **heads)
    row = last_rows(model, image_size, channels)[layer]
    variables = positive_variables(model, image_size, channels)
    seen = seen_pixels(model, variables, layer, at, image_size, channels)

    def span(position):
        first = row.receptive_offset + row.receptive_stride * position
        return max(0, first), min(image_size, first + row.receptive_field)

    (top, bottom), (left, right) = map(span, at)
    assert row.receptive_field_hw == (row.receptive_field,) * 2
    lines, columns = seen.any(axis=1).nonzero()[0], seen.any(axis=0).nonzero()[0]
    box = lines.min(), lines.max() + 1, columns.min(), columns.max() + 1
    assert box == (top, bottom, left, right)
    inside = seen[top:bottom, left:right]
    # With max pooling, a pixel may be the largest nowhere.
    assert inside.mean() > 0.5 if holes else inside.all()
