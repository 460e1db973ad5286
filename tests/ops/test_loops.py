"""A network with loops against the same network block by block."""

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
from tests.models.conftest import abstract_variables, drawn_variables, fresh_variables

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


shapes_of = partial(jax.tree.map, jnp.shape)


@cache
def block_by_block(name):
    """Returns a network's variables and the outputs of a step."""
    model = create_model(name, 10)
    variables = drawn_variables(model, 16)
    return variables, outputs(model, variables)


@pytest.mark.slow
@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize("name", ["resnet20", *OTHERS])
def test_a_loop_computes_what_its_blocks_compute(name, remat):
    model: Any = create_model(name, 10, scan=True, remat=remat)
    by_block, expected = block_by_block(name)
    shapes = abstract_variables(model, 16)
    variables = rolled(by_block, shapes)
    assert shapes_of(variables) == shapes_of(shapes)
    assert shapes_of(unrolled(variables)) == shapes_of(by_block)
    assert_close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(assert_close, outputs(model, variables), expected)


def test_each_block_in_a_loop_starts_with_other_weights():
    model = create_model("resnet20", 10, scan=True)
    kernels = fresh_variables(model, 16)["params"]["conv2_loop"]
    kernel = np.asarray(kernels["conv1"]["kernel"])
    assert kernel.shape == (2, 3, 3, 16, 16)
    assert (kernel[0] != kernel[1]).all()
    # He et al.: a variance of 2 / fan-in, counted for one block: 3 x 3 x 16 = 144.
    deviations = kernel.std(axis=(1, 2, 3, 4))
    np.testing.assert_allclose(deviations, (2 / 144) ** 0.5, rtol=0.1)


@pytest.mark.slow
def test_checkpoints_are_the_same_with_and_without_loops(tmp_path):
    plain: Any = create_model("resnet20", 10)
    loops = plain.clone(scan=True)
    sgd = optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(0.1, momentum=0.9))

    def make(model):
        variables = jax.tree.map(jnp.asarray, drawn_variables(model, 16))
        moments = sgd.init(variables["params"])
        return TrainState(step=jnp.int32(3), **variables, opt_state=moments)

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
