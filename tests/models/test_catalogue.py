"""Every network against its paper's numbers, from shapes alone."""

import functools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from cnn_arch.costs.layers import layer_costs
from cnn_arch.costs.summary import totals
from cnn_arch.errors import UsageError
from cnn_arch.models import MODELS, create_model
from cnn_arch.models.build import check_image_size, check_other_size
from tests.models.conftest import KINDS, mark_slow, num_params, trace, with_heads
from tests.paper_tables import (
    AUX_PARAMS,
    GOOGLENET_TABLE1,
    RESNET_TABLE1_MACS,
    SHORTCUTS,
    STAGE_SHAPES,
    TOTALS,
    VGG_TABLE2_MILLIONS,
)

ROOT = Path(__file__).parents[2]
ALL = mark_slow(TOTALS, KINDS)


def test_every_paper_network_is_there():
    assert set(TOTALS) == set(STAGE_SHAPES) <= set(MODELS)


@functools.cache
def traced(name):
    """Returns the variables and every layer's output, for one image of the paper."""
    _, _, image_size, channels, num_classes = TOTALS[name]
    model = create_model(name, num_classes, **with_heads(name))
    return trace(model, image_size, channels)


# tests/costs/test_layers.py compares parameters and multiply-adds of all networks.
@pytest.mark.parametrize("name", ALL)
def test_parameters(name):
    params = traced(name)[0]["params"]
    aux = {k: v for k, v in params.items() if k.startswith("aux")}
    assert num_params(params) - num_params(aux) == TOTALS[name][0]
    assert num_params(aux) == AUX_PARAMS.get(name, 0)


@pytest.mark.parametrize(
    ("page", "num_rows"), [("README.md", 10), ("docs/catalogue.md", 28)]
)
def test_the_pages_list_these_numbers(page, num_rows):
    text = (ROOT / page).read_text()
    rows = re.findall(r"^\| `(\w+)`.*?\| ([\d,]+) \| ([\d,.]+) \| (\d+) \|", text, re.M)
    assert len(rows) >= num_rows
    for name, params, mega_macs, image_size in rows:
        assert int(params.replace(",", "")) == TOTALS[name][0]
        digits = len(mega_macs.partition(".")[2])
        assert float(mega_macs.replace(",", "")) == round(TOTALS[name][1] / 1e6, digits)
        assert int(image_size) == TOTALS[name][2]


def test_the_catalogue_names_every_network():
    table = re.findall(r"^\| `.*", (ROOT / "docs" / "catalogue.md").read_text(), re.M)
    named = set(re.findall(r"`(\w+)`", "".join(table)))
    named |= {f"resnet{depth}" for depth in named if depth.isdigit()}
    assert set(TOTALS) - named == {"plain32", "plain44", "plain56", "plain110"}


def counted(model, image_size, channels):
    """Returns the parameters and multiply-adds of a network."""
    total = totals(layer_costs(model, image_size, channels))
    return total["params"], total["macs"]


@pytest.mark.parametrize("name", AUX_PARAMS)
def test_without_auxiliary_heads(name):
    params, macs, image_size, channels, num_classes = TOTALS[name]
    model = create_model(name, num_classes, aux_heads=False)
    assert counted(model, image_size, channels) == (params, macs)


@pytest.mark.parametrize(("name", "option"), SHORTCUTS)
def test_shortcut_options(name, option):
    _, _, image_size, channels, num_classes = TOTALS[name]
    model = create_model(name, num_classes, shortcut=option)
    assert counted(model, image_size, channels) == SHORTCUTS[name, option]


@pytest.mark.parametrize("name", ALL)
def test_stage_shapes(name):
    shapes = traced(name)[1]
    for layer, shape in STAGE_SHAPES[name].items():
        assert shapes[layer] == shape, layer


def test_the_totals_round_to_the_printed_ones():
    for name, printed in RESNET_TABLE1_MACS.items():
        assert abs(TOTALS[name][1] - printed) / printed < 0.02, name
    for name, printed in VGG_TABLE2_MILLIONS.items():
        assert abs(TOTALS[name][0] / 1e6 - printed) < 0.7, name


def test_googlenet_table_1():
    variables, shapes = traced("googlenet")
    params = variables["params"]
    for block, (kilo_weights, mega_ops) in GOOGLENET_TABLE1.items():
        convs = params[f"inception_{block}"].values()
        weights = num_params([conv["kernel"] for conv in convs])
        height, width, _ = shapes[f"inception_{block}"]
        assert weights / 1024 == pytest.approx(kilo_weights, rel=0.08)
        assert weights * height * width / 1e6 == pytest.approx(mega_ops, rel=0.06)


SMALLER = [name for name in KINDS if not name.startswith("inception_v")]


@pytest.mark.parametrize("name", mark_slow(TOTALS, SMALLER))
def test_other_channels_and_numbers_of_classes(name):
    _, _, image_size, channels, _ = TOTALS[name]
    model = create_model(name, num_classes=7)
    image = jnp.zeros((2, image_size, image_size, 3 if channels == 1 else 1))
    apply = functools.partial(model.init_with_output, train=False)
    logits, _ = jax.eval_shape(apply, jax.random.key(0), image)
    assert logits.shape == (2, 7)
    assert logits.dtype == jnp.float32


# The first empty map, and the smallest image that the network takes: 67, 63, 32 and 75
# by hand; torchvision's documentation has 63, 32, 15 and 75 for its networks.
@pytest.mark.parametrize(
    ("name", "image_size", "channels", "layer", "smallest"),
    [
        ("lenet5", 20, 1, "C5", 32),
        ("alexnet", 10, 3, "conv1", 67),
        ("alexnet", 32, 3, "pool2", 67),
        ("alexnet", 66, 3, "pool5", 67),
        ("alexnet_owt", 62, 3, "pool5", 63),
        ("vgg16", 31, 3, "pool5", 32),
        ("googlenet_bn", 14, 3, "pool3", 15),
        pytest.param("inception_v4", 74, 3, "Mixed_7a", 75, marks=pytest.mark.slow),
    ],
)
def test_too_small_images(name, image_size, channels, layer, smallest):
    model = create_model(name, 10)
    rule = rf"={image_size}: {name} needs at least {smallest} px \({layer}.* would be"
    with pytest.raises(UsageError, match=rule):
        check_image_size(model, name, image_size, channels)
    check_image_size(model, name, smallest, channels)


def test_auxiliary_heads_need_larger_images():
    model = create_model("inception_v3", 10)
    with pytest.raises(UsageError, match=r"at least 299 px \(aux/conv1"):
        check_image_size(model, "inception_v3", 298, 3)
    model = create_model("inception_v3", 10, aux_heads=False)
    with pytest.raises(UsageError, match=r"at least 75 px"):
        check_image_size(model, "inception_v3", 74, 3)


def test_dense_layers_on_a_map_need_one_size():
    data = ConfigDict({"image_size": 224, "eval_size": 288, "channels": 3})
    check_other_size(create_model("resnet18", 10), "resnet18", data)
    with pytest.raises(UsageError, match="=288: vgg11 has dense layers for images of"):
        check_other_size(create_model("vgg11", 10), "vgg11", data)


def test_mistakes():
    with pytest.raises(UsageError, match=r"resnet43: no such network; .*resnet34"):
        create_model("resnet43")
    with pytest.raises(UsageError, match=r"model\.fields\.widht: resnet18 has no such"):
        create_model("resnet18", widht=3)
    check_image_size(create_model("resnet18", 10), "resnet18", 1, 3)
