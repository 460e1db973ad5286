"""The catalogue: every network by its name.

A network is a Flax module. ``model.apply(variables, images, train=False)`` takes float
images [B, H, W, C], already normalised, and returns float32 logits [B, num_classes].
While training, a network puts the logits of its auxiliary heads, if it has any, into
the collection ``aux_logits``.
"""

import dataclasses
import difflib
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnn_arch import hints
from cnn_arch.errors import UsageError
from cnn_arch.models.alexnet import AlexNet
from cnn_arch.models.alexnet_owt import OneWeirdTrick
from cnn_arch.models.cuda_convnet import CudaConvNet
from cnn_arch.models.googlenet import GoogLeNet, GoogLeNetBN
from cnn_arch.models.inception_cifar import CifarInception
from cnn_arch.models.inception_v3 import InceptionV3
from cnn_arch.models.inception_v4 import InceptionV4
from cnn_arch.models.kernel_stacks import KernelStacks
from cnn_arch.models.lenet import LeNet, LeNet5
from cnn_arch.models.nin import CifarNiN, NiN
from cnn_arch.models.resnet import CifarResNet, resnet, resnet_v1_5
from cnn_arch.models.vgg import vgg
from cnn_arch.models.zfnet import ZFNet
from cnn_arch.ops.platform import plain_forms

MODELS: dict[str, Callable[..., nn.Module]] = {
    "lenet5": LeNet5,
    "lenet": LeNet,
    "alexnet": AlexNet,
    "alexnet_one_tower": partial(AlexNet, groups=1),
    "alexnet_owt": OneWeirdTrick,
    "cuda_convnet": CudaConvNet,
    "zfnet": ZFNet,
    "zfnet_wide": partial(ZFNet, (512, 1024, 512)),
    "vgg11": partial(vgg, "A"),
    "vgg11_lrn": partial(vgg, "A-LRN"),
    "vgg11_bn": partial(vgg, "A", batch_norm=True),
    "vgg13": partial(vgg, "B"),
    "vgg13_bn": partial(vgg, "B", batch_norm=True),
    "vgg16_c": partial(vgg, "C"),
    "vgg16": partial(vgg, "D"),
    "vgg16_bn": partial(vgg, "D", batch_norm=True),
    "vgg19": partial(vgg, "E"),
    "vgg19_bn": partial(vgg, "E", batch_norm=True),
    "nin": NiN,
    "nin_cifar": CifarNiN,
    "googlenet": GoogLeNet,
    "googlenet_bn": GoogLeNetBN,
    "inception_v3": InceptionV3,
    "inception_v4": InceptionV4,
    **{f"resnet{depth}": partial(resnet, depth) for depth in (18, 34, 50, 101, 152)},
    **{f"resnet{depth}_v1_5": partial(resnet_v1_5, depth) for depth in (50, 101, 152)},
    **{f"plain{d}": partial(resnet, d, shortcut="none") for d in (18, 34)},
    **{f"resnet{d}": partial(CifarResNet, d) for d in (20, 32, 44, 56, 110, 1202)},
    **{
        f"plain{d}": partial(CifarResNet, d, shortcut="none")
        for d in (20, 32, 44, 56, 110)
    },
    # No paper's: for claims of lectures.
    "inception_cifar": CifarInception,
    "kernel_stacks": KernelStacks,
}
_PROJECT = frozenset(MODELS)


def register(name: str, make: Callable[..., nn.Module]) -> None:
    """Adds a network of your own, in the recipe that trains it.

    Args:
      name: for ``config.model.name``.
      make: a Flax module class, or a function that returns a module; docs/adding.md
        lists the requirements.

    Raises:
      UsageError: the project has a network of that name.
    """
    if name in _PROJECT:
        raise UsageError(
            f"{name}: the project has a network of this name; rename yours"
        )
    MODELS[name] = make


# Compiler options for ``init_variables``: at this level, a program of many random draws
# compiles three to five times as fast (ResNet-50: 4 s, not 17 s) and runs as fast.
INIT_OPTIONS = {"xla_backend_optimization_level": 1}


def create_model(name: str, num_classes: int = 1000, **fields: Any) -> nn.Module:
    """Makes the module of a network; ``init_variables`` makes its variables.

    Args:
      name: a key of ``MODELS``.
      num_classes: the number of logits.
      **fields: fields of the module, such as ``shortcut`` or ``dtype``.

    Raises:
      UsageError: there is no such network, or the network has no such field.
    """
    if name not in MODELS:
        raise UsageError(hints.no_network(name, MODELS))
    model: Any = MODELS[name](num_classes=num_classes)
    known = {field.name for field in dataclasses.fields(model)} - {"parent", "name"}
    for field in fields:
        if field not in known:
            raise UsageError(
                f"--config.model.fields.{field}: {name} has no such field; it has "
                f"{', '.join(sorted(known))}"
            )
    return model.clone(**fields)


def init_variables(model: nn.Module, key: jax.Array, image_size: int, channels: int):
    """Returns fresh ``{"params": ..., "batch_stats": ...}``, float32.

    Compile it as a whole, with ``INIT_OPTIONS``. ``image_size`` is the side of the
    square image, px.
    """
    image = jnp.zeros((1, image_size, image_size, channels))
    kept = ("params", "batch_stats")
    with plain_forms():  # no output is kept, and these are quicker to trace
        variables = model.init(key, image, train=False, mutable=kept)
    return {"batch_stats": {}, **variables}


def layer_output(
    model: nn.Module, variables: Any, image: jax.Array, layer: str
) -> jax.Array:
    """Returns the output of a layer, after its activation, for normalised images.

    Args:
      model: the network.
      variables: parameters and statistics.
      image: [B, H, W, C].
      layer: the path: ``fc7``, ``conv5_3``, ``pool5``, ``inception_4a/3x3``.

    Raises:
      UsageError: there is no such layer.
    """
    names: list[str] = []

    def is_wanted(module: nn.Module, method: str) -> bool:
        name = "/".join(module.path)
        if name:  # the network itself has none
            names.append(name)
        return method == "__call__" and name == layer

    _, captured = model.apply(
        variables,
        image,
        train=False,
        capture_intermediates=is_wanted,
        mutable=["intermediates"],
    )
    outputs = jax.tree.leaves(captured)
    if not outputs:
        near = difflib.get_close_matches(layer, names, n=3)
        known = near or [name for name in names if "/" not in name]
        raise UsageError(f"{layer}: no such layer; {hints.choose(layer, known)}")
    return outputs[0]
