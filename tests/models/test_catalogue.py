"""Every network against its paper's numbers, from shapes alone."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_arch.analysis.macs import count_macs
from cnn_arch.errors import UsageError
from cnn_arch.models import MODELS, check_image_size, create_model, init_variables
from cnn_arch.models.lenet import LeNet5, TableConv
from cnn_arch.models.resnet import BasicBlock, Bottleneck, CifarResNet, ResNet
from tests.paper_tables import (
    LENET5_LAYERS,
    RESNET_TABLE1_MACS,
    SHORTCUTS,
    STAGE_SHAPES,
    TOTALS,
)


def num_params(model, image_size, channels):
    shapes = jax.eval_shape(
        lambda key: init_variables(model, key, image_size, channels), jax.random.key(0)
    )
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))


def test_every_network_has_its_numbers():
    assert set(TOTALS) == set(MODELS)


@pytest.mark.parametrize("name", [name for name in TOTALS if name != "resnet1202"])
def test_parameters_and_multiply_adds(name):
    params, macs, image_size, channels, num_classes = TOTALS[name]
    model = create_model(name, num_classes)
    assert num_params(model, image_size, channels) == params
    assert count_macs(model, image_size, channels) == macs


@pytest.mark.slow
def test_resnet1202():
    params, macs, image_size, channels, num_classes = TOTALS["resnet1202"]
    model = create_model("resnet1202", num_classes)
    assert num_params(model, image_size, channels) == params
    assert count_macs(model, image_size, channels) == macs


@pytest.mark.parametrize(("name", "option"), SHORTCUTS)
def test_shortcut_options(name, option):
    _, _, image_size, channels, num_classes = TOTALS[name]
    model = create_model(name, num_classes, shortcut=option)
    totals = num_params(model, image_size, channels), count_macs(model, image_size, 3)
    assert totals == SHORTCUTS[name, option]


def test_table_1_to_its_two_digits():
    for name, printed in RESNET_TABLE1_MACS.items():
        assert abs(TOTALS[name][1] - printed) / printed < 0.02, name


@pytest.mark.parametrize("name", STAGE_SHAPES)
def test_stage_shapes(name):
    _, _, image_size, channels, num_classes = TOTALS[name]
    model = create_model(name, num_classes)
    image = jnp.zeros((2, image_size, image_size, channels))

    def outputs(key):
        variables = model.init(key, image, train=False)
        apply = partial(model.apply, train=False, capture_intermediates=True)
        _, state = apply(variables, image, mutable=["intermediates"])
        return state["intermediates"]

    shapes = jax.eval_shape(outputs, jax.random.key(0))
    for layer, shape in STAGE_SHAPES[name].items():
        assert shapes[layer]["__call__"][0].shape == (2, *shape), layer


def test_lenet5_layer_by_layer():
    model = create_model("lenet5", 10)
    params = init_variables(model, jax.random.key(0), 32, 1)["params"]
    for layer, count in LENET5_LAYERS.items():
        leaves = jax.tree.leaves(params[layer])
        assert sum(leaf.size for leaf in leaves) == count, layer


def test_lenet5_c3_sees_its_inputs_of_table_1_and_no_others():
    # Table I of the paper, row = map of S2, "X" = seen by that map of C3.
    table = """
        X...XXX..XXXX.XX
        XX...XXX..XXXX.X
        XXX...XXX..X.XXX
        .XXX..XXXX..X.XX
        ..XXX..XXXX.XX.X
        ...XXX..XXXX.XXX
    """.split()
    model = create_model("lenet5", 10)
    variables = init_variables(model, jax.random.key(0), 32, 1)

    kernel = variables["params"]["C3"]["kernel"]
    assert kernel.shape == (5, 5, sum(row.count("X") for row in table))
    conv = TableConv()
    maps = jax.random.normal(jax.random.key(1), (1, 14, 14, 6))
    apply = partial(conv.apply, {"params": variables["params"]["C3"]})
    before = apply(maps)
    for row in range(6):
        changed = np.asarray(apply(maps.at[..., row].add(1.0)) != before)
        seen = "".join("X" if map_ else "." for map_ in changed.any(axis=(0, 1, 2)))
        assert seen == table[row]


# Small enough to compile in a second, with every kind of block.
SMALL = {
    "lenet5": LeNet5(),
    "cifar A": CifarResNet(8),
    "cifar plain": CifarResNet(8, shortcut="none"),
    "basic B": ResNet((1, 1), BasicBlock, num_classes=10),
    "bottleneck C": ResNet((1, 1), Bottleneck, num_classes=10, shortcut="C"),
}


def small(name):
    """Returns a small network, its variables and four images."""
    model, channels = SMALL[name], 1 if name == "lenet5" else 3
    variables = init_variables(model, jax.random.key(0), 32, channels)
    return model, variables, jax.random.normal(jax.random.key(1), (4, 32, 32, channels))


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_has_a_gradient(name):
    model, variables, image = small(name)

    @jax.jit
    @jax.grad
    def gradient(params):
        variables_ = variables | {"params": params}
        logits, _ = model.apply(variables_, image, train=True, mutable=["batch_stats"])
        return jax.nn.log_softmax(logits)[:, 0].mean()

    gradients = gradient(variables["params"])
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_residual_block_with_zero_weights_is_the_identity(block):
    model = ResNet((2,), block, num_classes=10)
    variables = init_variables(model, jax.random.key(0), 32, 3)
    variables["params"]["conv2_2"] = jax.tree.map(
        jnp.zeros_like, variables["params"]["conv2_2"]
    )
    image = jax.random.normal(jax.random.key(1), (1, 32, 32, 3))
    _, state = jax.jit(
        partial(
            model.apply,
            train=False,
            capture_intermediates=True,
            mutable=["intermediates"],
        )
    )(variables, image)
    before, after = (
        state["intermediates"][name]["__call__"][0] for name in ("conv2_1", "conv2_2")
    )
    assert np.abs(before).max() > 0
    np.testing.assert_array_equal(before, after)


def test_bottleneck_strides_on_the_first_1x1():
    model = create_model("resnet50", 10)
    image = jnp.zeros((1, 64, 64, 3))

    def outputs(key):
        variables = model.init(key, image, train=False)
        return model.apply(
            variables,
            image,
            train=False,
            capture_intermediates=True,
            mutable=["intermediates"],
        )[1]["intermediates"]

    shapes = jax.eval_shape(outputs, jax.random.key(0))
    assert shapes["conv3_1"]["conv1"]["__call__"][0].shape == (1, 8, 8, 128)


def test_he_initialisation_has_variance_two_over_fan_in():
    params = small("basic B")[1]["params"]
    kernel = params["conv3_1"]["conv2"]["kernel"]
    assert kernel.shape == (3, 3, 128, 128)
    np.testing.assert_allclose(np.std(kernel), np.sqrt(2 / (9 * 128)), rtol=0.01)
    assert np.abs(kernel).max() > 3.5 * np.std(kernel)  # not truncated at two


def test_batch_norm_differs_between_training_and_evaluation():
    model, variables, image = small("cifar A")
    trained, _ = model.apply(variables, image, train=True, mutable=["batch_stats"])
    evaluated = model.apply(variables, image, train=False)
    assert np.abs(trained - evaluated).max() > 0.1


def test_bfloat16_keeps_parameters_and_logits_float32():
    model, variables, image = small("cifar A")
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    exact = model.apply(variables, image, train=False)
    logits = model.clone(dtype=jnp.bfloat16).apply(variables, image, train=False)
    assert logits.dtype == jnp.float32
    assert np.abs(logits - exact).max() > 0
    np.testing.assert_allclose(logits, exact, atol=0.1 * np.abs(exact).max())


def test_mistakes():
    with pytest.raises(UsageError, match=r"resnet43: no such network; .*resnet34"):
        create_model("resnet43")
    with pytest.raises(UsageError, match=r"model\.fields\.widht: resnet18 has no such"):
        create_model("resnet18", widht=3)
    with pytest.raises(UsageError, match=r"=20: lenet5 needs at least 32 px"):
        check_image_size(create_model("lenet5", 10), "lenet5", 20, 1)
    check_image_size(create_model("resnet18", 10), "resnet18", 1, 3)
