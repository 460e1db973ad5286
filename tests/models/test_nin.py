"""The head of NiN for CIFAR-10 against NumPy."""

from functools import partial

import jax
import numpy as np
import pytest

from cnn_arch.costs.layers import layer_costs
from cnn_arch.costs.summary import totals
from cnn_arch.models import create_model, layer_output
from tests.models.conftest import drawn_variables, forward
from tests.paper_tables import TOTALS


def test_a_dense_head_reads_every_position():
    """Section 4.6: in place of the average; "the other parts" are the same."""
    params, macs, side, *_ = TOTALS["nin_cifar"]
    model = create_model("nin_cifar", 10, head="dense")
    counted = totals(layer_costs(model, side, 3))
    weights = 8 * 8 * 10 * 10
    assert counted["params"] == params + weights + 10
    assert counted["macs"] == macs + weights

    variables = drawn_variables(model, 16)
    x = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))
    maps = np.asarray(
        jax.jit(partial(layer_output, model, layer="mlpconv3"))(variables, x)
    )
    fc = variables["params"]["fc"]
    expected = maps.reshape(2, 4 * 4 * 10) @ fc["kernel"] + fc["bias"]
    logits = forward(model, variables, x)
    np.testing.assert_allclose(np.asarray(logits), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_dropout_before_the_dense_head(rate):
    fields = {"dropout_rate": 0.0, "head": "dense", "head_dropout_rate": rate}
    model = create_model("nin_cifar", 10, **fields)
    variables = drawn_variables(model, 16)
    variables["params"]["fc"]["kernel"][:] = np.eye(160, 10)
    x = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))
    maps = np.asarray(
        jax.jit(partial(layer_output, model, layer="mlpconv3"))(variables, x)
    )
    first = maps.reshape(2, 160)[:, :10]  # the head's outputs
    rngs = {"dropout": jax.random.key(1)}
    found = np.asarray(model.apply(variables, x, train=True, rngs=rngs))
    kept = found != 0
    np.testing.assert_allclose(found, np.where(kept, first / (1 - rate), 0), rtol=1e-4)
    assert (kept == (first != 0)).all() == (rate == 0)
