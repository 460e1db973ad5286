"""Every network in training: gradients, dropout, statistics, auxiliary logits."""

import functools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnn_arch.models import MODELS, create_model
from cnn_arch.models.layers import Dropout
from tests.models.conftest import (
    KINDS,
    abstract_variables,
    drawn_variables,
    mark_slow,
)
from tests.paper_tables import TOTALS

# The smallest image without empty maps; for all others, 16 px.
IMAGE_SIZES = {"lenet5": 32, "alexnet": 67, "alexnet_one_tower": 67, "alexnet_owt": 63}
IMAGE_SIZES |= {"zfnet": 53, "zfnet_wide": 53, "nin": 39, "googlenet": 79}
IMAGE_SIZES |= {"inception_v3": 299, "inception_v4": 75}
IMAGE_SIZES |= {name: 32 for name in MODELS if name.startswith("vgg")}
IMAGE_SIZES |= {name: 64 for name in MODELS if name.startswith(("resnet1", "resnet5"))}
# They take long to compile.
SLOW = {"googlenet", "googlenet_bn", "inception_v3", "inception_v4", "resnet50"}
SLOW |= {"alexnet", "alexnet_owt", "plain20", "resnet18", "vgg11_bn", "vgg11_lrn"}
SLOW |= {"zfnet"}
quick_ones = partial(mark_slow, quick=set(KINDS) - SLOW)


@functools.cache
def make(name):
    """Returns a network of ten classes, its variables, and images for it."""
    channels = 1 if name.startswith("lenet") else 3
    image_size = IMAGE_SIZES.get(name, 16)
    model = create_model(name, 10)
    variables = drawn_variables(model, image_size, channels)
    shape = (4, image_size, image_size, channels)
    return model, variables, jax.random.normal(jax.random.key(1), shape)


def train_outputs(model, variables, image, seed=2) -> Any:
    """Applies a network as in a training step."""
    return model.apply(
        variables,
        image,
        train=True,
        mutable=["batch_stats", "aux_logits"],
        rngs={"dropout": jax.random.key(seed)},
    )


@functools.cache
def compiled(name):
    """Compiles both passes of training: seed -> gradients, logits, statistics."""
    model, variables, image = make(name)

    def loss(params, seed):
        both = variables | {"params": params}
        logits, updates = train_outputs(model, both, image, seed)
        heads = [logits, *jax.tree.leaves(updates.get("aux_logits", {}))]
        value = -sum(jax.nn.log_softmax(each)[:, 0].mean() for each in heads)
        return value, (logits, updates.get("batch_stats", {}))

    gradients = jax.jit(jax.grad(loss, has_aux=True))
    return lambda seed: gradients(variables["params"], seed)


@functools.cache
def evaluated(name):
    """Returns the logits of two evaluations."""
    model, variables, image = make(name)
    evaluate = jax.jit(partial(model.apply, train=False))
    return evaluate(variables, image), evaluate(variables, image)


@pytest.mark.parametrize("name", quick_ones(TOTALS))
def test_every_parameter_has_a_gradient(name):
    gradients, _ = compiled(name)(2)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path


DROPOUT = {"alexnet": 2, "alexnet_owt": 2, "zfnet": 2, "vgg11_lrn": 2, "nin": 1}
DROPOUT |= {"nin_cifar": 2, "googlenet": 3, "googlenet_bn": 3, "resnet20": 0}


@pytest.mark.parametrize("name", quick_ones(DROPOUT))
def test_dropout_differs_between_training_and_evaluation(name):
    first, again, other = (compiled(name)(seed)[1][0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() == (DROPOUT[name] > 0)
    np.testing.assert_array_equal(*evaluated(name))
    dropouts = []

    def note(next_function, args, kwargs, context):
        if isinstance(context.module, Dropout) and not context.module.deterministic:
            dropouts.append(context.module.name)
        return next_function(*args, **kwargs)

    with nn.intercept_methods(note):
        jax.eval_shape(lambda: train_outputs(*make(name)))
    assert len(dropouts) == DROPOUT[name]


@pytest.mark.parametrize("name", quick_ones(["resnet20", "vgg11_bn", "googlenet_bn"]))
def test_batch_norm_differs_between_training_and_evaluation(name):
    _, variables, _ = make(name)
    _, (trained, after) = compiled(name)(2)
    assert np.abs(trained - evaluated(name)[0]).max() > 1e-3
    before = variables["batch_stats"]
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert (old != new).any()


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("googlenet", 2),
        pytest.param("googlenet_bn", 2, marks=pytest.mark.slow),
        ("resnet20", 0),
    ],
)
def test_only_training_returns_auxiliary_logits(name, heads):
    model = create_model(name, 10)
    variables = abstract_variables(model, 96)
    image = jax.ShapeDtypeStruct((4, 96, 96, 3), jnp.float32)
    outputs = jax.eval_shape(partial(train_outputs, model), variables, image)[1]
    aux = jax.tree.leaves(outputs.get("aux_logits", {}))
    assert [each.shape for each in aux] == [(4, 10)] * heads
    evaluate = partial(model.apply, train=False, mutable=["aux_logits"])
    assert not jax.eval_shape(evaluate, variables, image)[1]


@pytest.mark.slow
def test_auxiliary_heads_come_after_4a_and_4d():
    """A head's gradient reaches the layers before it, and no layers after it."""
    model, variables, image = make("googlenet")

    @jax.jit
    def gradients(params):
        def head_logits(params, head):
            outputs = train_outputs(model, variables | {"params": params}, image)[1]
            return outputs["aux_logits"][head]["logits"].sum()

        return [jax.grad(head_logits)(params, head) for head in ("aux1", "aux2")]

    reached = [
        {k for k, tree in grads.items() if any(map(jnp.any, jax.tree.leaves(tree)))}
        for grads in gradients(variables["params"])
    ]
    assert "inception_4a" in reached[0] and "inception_4b" not in reached[0]
    assert "inception_4d" in reached[1] and "inception_4e" not in reached[1]


@pytest.mark.parametrize("name", quick_ones(["alexnet", "resnet20", "googlenet_bn"]))
def test_bfloat16_keeps_parameters_and_logits_float32(name):
    model, variables, image = make(name)
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(abstract_variables(model, 299))}
    assert dtypes == {jnp.dtype("float32")}
    exact = evaluated(name)[0]
    rounded = model.clone(dtype=jnp.bfloat16)
    logits = jax.jit(partial(rounded.apply, train=False))(variables, image)
    assert logits.dtype == jnp.float32
    assert np.abs(logits - exact).max() > 0
    np.testing.assert_allclose(logits, exact, atol=0.1 * np.abs(exact).max())
