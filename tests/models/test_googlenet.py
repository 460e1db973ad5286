"""The inception modules against CS231n's example, and pooling to a fixed size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnn_arch.costs.layers import layer_costs
from cnn_arch.costs.summary import totals
from cnn_arch.models import create_model
from cnn_arch.models.googlenet import AdaptiveAvgPool, Inception, NaiveInception
from cnn_arch.models.layers import Conv
from tests.models.conftest import output_shapes
from tests.paper_tables import TOTALS


class OneModule(nn.Module):
    """A network of one module."""

    module: nn.Module

    @nn.compact
    def __call__(self, x, *, train):
        return self.module.copy(name="inception")(x)


# CS231n 2017, lecture 9: 28x28x256; 1x1 128, 3x3 192, 5x5 96. The lecture prints 358 M
# for the bottlenecks: it counts one 3x3 convolution of 86,704,128 twice.
@pytest.mark.parametrize(
    ("module", "macs", "depth"),
    [
        (NaiveInception((128, 192, 96), Conv), 854_196_224, 672),
        (Inception((128, 64, 192, 64, 96, 64), Conv), 271_351_808, 480),
    ],
)
def test_the_lectures_example(module, macs, depth):
    model = OneModule(module)
    assert totals(layer_costs(model, 28, 256))["macs"] == macs
    assert output_shapes(model, 28, 256)["inception"] == (28, 28, depth)


def test_naive_keeps_all_maps_of_the_pool():
    x = jnp.arange(2 * 5 * 5 * 3.0).reshape(2, 5, 5, 3)
    module = NaiveInception((1, 1, 1), Conv)
    variables = module.init(jax.random.key(0), x)
    y = np.asarray(module.apply(variables, x))
    np.testing.assert_array_equal(y[:, 0, 0, 3:], x[:, 1, 1])  # the maximum of 2x2


def test_a_dense_head_reads_every_position():
    params, macs, side, _, classes = TOTALS["googlenet"]
    model = create_model("googlenet", head="dense", aux_heads=False)
    total = totals(layer_costs(model, side, 3))
    more = (7 * 7 - 1) * 1024 * classes  # Table 1: 7x7x1024 before the average
    assert (total["params"], total["macs"]) == (params + more, macs + more)


def test_adaptive_avg_pool():
    # PyTorch's documentation: windows from floor(i n / m) to ceil((i + 1) n / m).
    x = np.random.default_rng(0).standard_normal((2, 14, 3, 5)).astype(np.float32)
    y = np.asarray(AdaptiveAvgPool(4).apply({}, jnp.array(x)))
    rows = [(0, 4), (3, 7), (7, 11), (10, 14)]
    columns = [(0, 1), (0, 2), (1, 3), (2, 3)]
    for i, (top, bottom) in enumerate(rows):
        for j, (left, right) in enumerate(columns):
            expected = x[:, top:bottom, left:right].mean(axis=(1, 2))
            np.testing.assert_allclose(y[:, i, j], expected, atol=1e-6)
