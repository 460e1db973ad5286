"""Counts the costs of parts of networks, each as a network by itself."""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnn_arch.costs.layers import LayerCost, layer_costs
from cnn_arch.models.googlenet import Inception, NaiveInception
from cnn_arch.models.layers import Conv, batch_norm
from cnn_arch.models.resnet import BasicBlock, Bottleneck


class Stack(nn.Module):
    """A network of layers one after another, for counting parts of a network.

    Its image may be any map: ``image_size`` and ``channels`` are then the map's.
    """

    layers: Sequence[nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        for layer in self.layers:
            x = layer(x)
        return x


@cache
def module_costs(name: str) -> Sequence[LayerCost]:
    """Returns the layers of one part, on a map of its usual size."""
    maker: Any = batch_norm(train=False, axis=None, dtype=jnp.float32)
    conv = partial(Conv, use_bias=False)
    widths = 128, 64, 192, 64, 96, 64  # 1x1; 3x3 and 5x5, reduced first; after the pool
    unit = partial(Conv, 64, use_bias=False, activation=jax.nn.relu)
    layers, image_size, channels = {
        "naive inception": ([NaiveInception((128, 192, 96), Conv)], 28, 256),
        "inception": ([Inception(widths, Conv)], 28, 256),
        "three 3x3": ([unit(3) for _ in range(3)], 28, 64),
        "one 7x7": ([unit(7)], 28, 64),
        "1x1": ([Conv(64, 1)], 32, 256),
        "3x3 on 256 maps": ([Conv(64, 3)], 32, 256),
        "3x3 on 64 maps": ([Conv(64, 3)], 32, 64),
        "two 3x3 of 256": ([BasicBlock(256, 1, "A", conv, maker)], 28, 256),
        "bottleneck": ([Bottleneck(64, 1, "A", conv, maker)], 28, 256),
    }[name]
    return tuple(layer_costs(Stack(layers), image_size, channels))
