"""What the tests ask of any network."""

import math
from functools import partial

import jax
import jax.numpy as jnp

from cnn_arch.models import INIT_OPTIONS, init_variables


def fresh_variables(model, image_size, channels=3, seed=0):
    """Draws a network's variables, compiled as train.py does."""
    init = partial(init_variables, model, image_size=image_size, channels=channels)
    return jax.jit(init, compiler_options=INIT_OPTIONS)(jax.random.key(seed))


def abstract_variables(model, image_size, channels=3):
    """Returns the shapes of a network's variables."""
    init = partial(init_variables, model, image_size=image_size, channels=channels)
    return jax.eval_shape(init, jax.random.key(0))


def num_params(tree):
    """Counts the parameters of a tree of arrays or shapes."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def output_shapes(model, image_size, channels=3):
    """Returns the output shape of every module, by path, for one image."""
    image = jnp.zeros((1, image_size, image_size, channels))

    def outputs(key):
        variables = model.init(key, image, train=False)
        apply = partial(model.apply, train=False, capture_intermediates=True)
        return apply(variables, image, mutable=["intermediates"])[1]["intermediates"]

    captured = jax.eval_shape(outputs, jax.random.key(0))
    return {
        "/".join(key.key for key in path[:-2]): leaf.shape[1:]
        for path, leaf in jax.tree_util.tree_leaves_with_path(captured)
    }
