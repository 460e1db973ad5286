"""Networks with torchvision's weights, compared with torchvision's own logits."""

import json
import zlib
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnn_arch.errors import UsageError
from cnn_arch.models import create_model
from cnn_arch.models.layers import Dropout
from cnn_arch.weights.torchvision import TORCHVISION, from_torchvision, to_torchvision
from tests.models.conftest import abstract_variables, mark_slow
from tests.weights.formula import NUM_CLASSES, images, weight

GOLDENS = json.loads(Path(__file__).with_name("goldens.json").read_text())
QUICK = {"resnet18"}


@lru_cache(maxsize=1)
def state_dict(name):
    """Returns weights by formula under torchvision's keys."""
    image_size = TORCHVISION[name].image_size
    variables = abstract_variables(create_model(name, NUM_CLASSES), image_size)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), variables)
    return {
        key: array if array.ndim == 0 else weight(key, array.shape)
        for key, array in to_torchvision(name, zeros).items()
    }


def relative_error(logits, expected):
    expected = np.array(expected)
    assert logits.shape == expected.shape
    return np.linalg.norm(logits - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("name", mark_slow(TORCHVISION, QUICK))
def test_logits_equal_torchvisions(name):
    golden, given = GOLDENS[TORCHVISION[name].name], state_dict(name)
    keys = sorted((key, array.shape) for key, array in given.items())
    assert zlib.crc32(repr(keys).encode()) == golden["keys"]

    variables = from_torchvision(name, given)
    back = to_torchvision(name, variables)
    assert back.keys() == given.keys()
    for key, array in given.items():
        np.testing.assert_array_equal(back[key], array, err_msg=key, strict=True)
    evaluate = partial(create_model(name, NUM_CLASSES).apply, train=False)
    logits = jax.jit(evaluate)(variables, images(golden["image_size"], 2))
    assert relative_error(logits, golden["logits"]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet_bn", "inception_v3"])
def test_auxiliary_logits_equal_torchvisions(name):
    golden = GOLDENS[TORCHVISION[name].name]
    variables = from_torchvision(name, state_dict(name))

    def keep_all(next_function, args, kwargs, context):
        if isinstance(context.module, Dropout):
            return args[0]
        return next_function(*args, **kwargs)

    @jax.jit
    def train(variables, image):
        with nn.intercept_methods(keep_all):
            return create_model(name, NUM_CLASSES).apply(
                variables, image, train=True, mutable=["batch_stats", "aux_logits"]
            )

    logits, updates = train(variables, images(golden["image_size"], 4))
    expected = golden["train"]
    assert relative_error(logits, expected["logits"]) < 1e-4
    heads: Any = updates["aux_logits"]  # aux, or aux1 and aux2
    assert len(heads) == len(expected) - 1
    for head, values in heads.items():
        key = head.replace("aux", "aux_logits")
        assert relative_error(values["logits"], expected[key]) < 1e-4, key


@pytest.mark.parametrize(
    "name", mark_slow(["googlenet_bn", "inception_v3"], {"googlenet_bn"})
)
def test_without_auxiliary_heads(name):
    given = {
        key: array
        for key, array in state_dict(name).items()
        if not key.startswith(("aux", "AuxLogits"))
    }
    variables = from_torchvision(name, given)
    model = create_model(name, NUM_CLASSES, aux_heads=False)
    expected = abstract_variables(model, TORCHVISION[name].image_size)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, expected)


def test_gray_images_and_any_number_of_classes_and_no_counters():
    given = {
        key: array
        for key, array in state_dict("resnet18").items()
        if not key.endswith("num_batches_tracked")
    }
    given["conv1.weight"] = given["conv1.weight"][:, :1]
    given["fc.weight"] = np.zeros((7, 512), np.float32)
    given["fc.bias"] = np.zeros(7, np.float32)
    params = from_torchvision("resnet18", given)["params"]
    assert params["conv1"]["kernel"].shape == (7, 7, 1, 64)
    assert params["fc"]["kernel"].shape == (512, 7)


def test_all_faults_are_named_at_once():
    given = dict(state_dict("resnet18"))
    del given["bn1.weight"], given["layer1.0.conv1.weight"]
    given["bn2.weight"] = given["extra"] = np.zeros(3, np.float32)
    given["layer2.0.bn1.bias"] = np.zeros(5, np.float32)
    with pytest.raises(UsageError) as caught:
        from_torchvision("resnet18", given)
    assert str(caught.value) == (
        "resnet18: not the weights of torchvision's resnet18; "
        "missing: bn1.weight, layer1.0.conv1.weight; "
        "left over: bn2.weight, extra; "
        "of another shape: layer2.0.bn1.bias (5,) instead of (128,)"
    )


def test_a_network_that_torchvision_does_not_have():
    for function in (from_torchvision, to_torchvision):
        with pytest.raises(UsageError, match="nin: torchvision has no such network"):
            function("nin", {})
        with pytest.raises(UsageError, match="which is resnet50_v1_5 here"):
            function("resnet50", {})
