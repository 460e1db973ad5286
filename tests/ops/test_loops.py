"""A network of loops beside the same network block by block."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnn_arch.checkpoints.checkpoint import Checkpoints
from cnn_arch.checkpoints.state import TrainState
from cnn_arch.models import create_model
from cnn_arch.ops.loops import rolled, unrolled
from tests.models.conftest import (
    abstract_variables,
    drawn_variables,
    fresh_variables,
)

IMAGE = jax.random.normal(jax.random.key(1), (4, 16, 16, 3))
OTHERS = "plain20", "resnet32", "resnet18"


def outputs(model: Any, variables: Any) -> tuple[Any, Any, Any]:
    """Returns loss, new statistics and gradients of a step, block by block."""

    def loss(params):
        both = variables | {"params": params}
        logits, updates = model.apply(both, IMAGE, train=True, mutable=["batch_stats"])
        return -jax.nn.log_softmax(logits)[:, 0].mean(), updates["batch_stats"]

    gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, batch_stats), grads = gradient(variables["params"])
    return value, unrolled(batch_stats), unrolled(grads)


@cache
def block_by_block(name):
    """Returns a network's variables, and the outputs of a step."""
    model = create_model(name, 10)
    variables = drawn_variables(model, 16)
    return variables, outputs(model, variables)


@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize(
    "name",
    ["resnet20", *(pytest.param(n, marks=pytest.mark.slow) for n in OTHERS)],
)
def test_a_loop_computes_what_its_blocks_compute(name, remat):
    model: Any = create_model(name, 10, scan=True, remat=remat)
    by_block, expected = block_by_block(name)
    shapes = abstract_variables(model, 16)
    variables = rolled(by_block, shapes)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    assert jax.tree.map(jnp.shape, unrolled(variables)) == jax.tree.map(
        jnp.shape, by_block
    )
    for values, right in zip(
        jax.tree.leaves(outputs(model, variables)),
        jax.tree.leaves(expected),
        strict=True,
    ):
        np.testing.assert_allclose(values, right, rtol=1e-4, atol=1e-5)


def test_blocks_in_a_loop_start_with_weights_of_their_own():
    model = create_model("resnet20", 10, scan=True)
    kernels = fresh_variables(model, 16)["params"]["conv2_loop"]
    kernel = np.asarray(kernels["conv1"]["kernel"])
    assert kernel.shape == (2, 3, 3, 16, 16)
    assert (kernel[0] != kernel[1]).all()
    # He et al.: a variance of 2 / fan-in, whose fan-in is that of one block.
    np.testing.assert_allclose(
        kernel.std(axis=(1, 2, 3, 4)), (2 / 144) ** 0.5, rtol=0.1
    )


def test_a_checkpoint_does_not_know_of_loops(tmp_path):
    plain: Any = create_model("resnet20", 10)
    loops = plain.clone(scan=True)
    sgd = optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(0.1, momentum=0.9))

    def make(model):
        variables = jax.tree.map(jnp.asarray, drawn_variables(model, 16))
        params = variables["params"]
        return TrainState(
            jnp.int32(3), params, variables["batch_stats"], sgd.init(params)
        )

    state = make(loops)
    checkpoints = Checkpoints(tmp_path, warn=pytest.fail)
    checkpoints.save(unrolled(state), config={}, epoch=1.0, validation_error=1.0)
    checkpoints.close()
    abstract = partial(
        jax.tree.map,
        lambda leaf: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=leaf.sharding
        ),
    )
    by_block = checkpoints.restore(abstract(make(plain)))
    assert by_block is not None
    again = rolled(by_block, abstract(state))
    assert jax.tree.structure(again) == jax.tree.structure(state)
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), again, state))


@pytest.mark.parametrize("name", ["resnet20", "vgg11", "lenet"])
def test_without_loops_nothing_changes(name):
    variables = abstract_variables(create_model(name, 10), 32, 1)
    assert unrolled(variables) == variables
    assert rolled(variables, variables) == variables
