"""Variables, shapes and parameter counts of any network."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_arch.models import INIT_OPTIONS, init_variables
from cnn_arch.ops.platform import plain_forms
from tests.paper_tables import AUX_PARAMS

# One network for each kind of code; the others differ from one of these in numbers.
KINDS = """
    lenet5 lenet alexnet alexnet_owt cuda_convnet zfnet vgg11_lrn vgg11_bn nin nin_cifar
    googlenet googlenet_bn inception_v3 inception_v4 resnet18 resnet50 resnet20 plain20
""".split()


def mark_slow(names, quick):
    """Marks the names that are not quick as slow, for parametrize."""
    slow = pytest.mark.slow
    return [n if n in quick else pytest.param(n, marks=slow) for n in names]


def with_heads(name):
    """Returns the fields that give a network its auxiliary heads, if it has any."""
    return {"aux_heads": True} if name in AUX_PARAMS else {}


def fresh_variables(model, image_size, channels=3, seed=0):
    """Draws a network's variables by the program that train.py compiles."""
    init = partial(init_variables, model, image_size=image_size, channels=channels)
    return jax.jit(init, compiler_options=INIT_OPTIONS)(jax.random.key(seed))


def drawn_variables(model, image_size, channels=3, seed=0):
    """Draws variables on the host, for tests of anything but the initialisation.

    Compiling a network's own initialisation takes longer than most tests.
    """
    generator = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path[-1].key
        if name in ("scale", "var"):
            return np.ones(leaf.shape, leaf.dtype)
        if name in ("bias", "mean"):
            return np.zeros(leaf.shape, leaf.dtype)
        fan_in = math.prod(leaf.shape[:-1])  # of kernels, and of subsampling's gains
        values = generator.standard_normal(leaf.shape) * (2 / fan_in) ** 0.5
        return values.astype(leaf.dtype)

    shapes = abstract_variables(model, image_size, channels)
    return jax.tree_util.tree_map_with_path(draw, shapes)


def abstract_variables(model, image_size, channels=3):
    """Returns the shapes of a network's variables."""
    init = partial(init_variables, model, image_size=image_size, channels=channels)
    return jax.eval_shape(init, jax.random.key(0))


def forward(model, variables, images):
    """Returns the logits in evaluation, by one program."""
    return jax.jit(partial(model.apply, train=False))(variables, images)


def num_params(tree):
    """Counts the parameters of a tree of arrays or shapes."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def trace(model, image_size, channels=3):
    """Returns the shapes of the variables, and the output of every module, by path."""
    image = jnp.zeros((1, image_size, image_size, channels))

    def outputs(key):
        apply = partial(model.apply, train=False, capture_intermediates=True)
        with plain_forms():  # of the same shapes, and quicker to trace
            variables = model.init(key, image, train=False)
            captured = apply(variables, image, mutable=["intermediates"])[1]
        return variables, captured["intermediates"]

    variables, captured = jax.eval_shape(outputs, jax.random.key(0))
    return variables, {
        "/".join(key.key for key in path[:-2]): leaf.shape[1:]
        for path, leaf in jax.tree_util.tree_leaves_with_path(captured)
    }


def output_shapes(model, image_size, channels=3):
    """Returns the output shape of every module, by path, for one image."""
    return trace(model, image_size, channels)[1]
