"""Layers counted by hand, totals of the papers, and XLA's own count."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from cnn_arch.costs.layers import count_costs, layer_costs
from cnn_arch.costs.modules import Stack
from cnn_arch.costs.summary import totals
from cnn_arch.costs.xla import flops_of, reported_xla_flops
from cnn_arch.errors import UsageError
from cnn_arch.models import create_model
from cnn_arch.models.layers import AvgPool, GlobalAvgPool, MaxPool, concatenate
from tests.costs.conftest import rows_of
from tests.models.conftest import mark_slow, with_heads
from tests.paper_tables import AUX_PARAMS, TOTALS

CONV = partial(nn.Conv, kernel_size=(3, 3), padding="VALID")


def one(layer, image_size=8, channels=4):
    """Returns the row of a layer by itself."""
    return layer_costs(Stack([layer]), image_size, channels)[1]


# Output, parameters, MACs, MACs on padding, field, stride, first pixel; all by hand.
@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        # (8 - 3) + 1 = 6; floor((8 - 3) / 2) + 1 = 3
        (CONV(5), ((6, 6, 5), 5 * 36 + 5, 6 * 6 * 5 * 36, 0, 3, 1, 0)),
        (CONV(5, strides=2), ((3, 3, 5), 185, 3 * 3 * 5 * 36, 0, 3, 2, 0)),
        (  # along an axis 8 x 3 taps, two of them on padding: 24^2 - 22^2 pairs
            CONV(5, padding=1),
            ((8, 8, 5), 185, 8 * 8 * 5 * 36, (24**2 - 22**2) * 20, 3, 1, -1),
        ),
        # A field of 5 px; each filter takes 2 maps.
        (CONV(5, kernel_dilation=2), ((4, 4, 5), 185, 4 * 4 * 5 * 36, 0, 5, 1, 0)),
        (
            CONV(6, feature_group_count=2),
            ((6, 6, 6), 6 * 18 + 6, 6 * 6 * 6 * 18, 0, 3, 1, 0),
        ),
        (nn.Dense(10), ((8, 8, 10), 50, 64 * 40, 0, 1, 1, 0)),
        # ceil((8 - 3) / 2) + 1 = 4
        (MaxPool(3, 2, ceil_mode=True), ((4, 4, 4), 0, 0, 0, 3, 2, 0)),
        (MaxPool(3, 2, padding=1), ((4, 4, 4), 0, 0, 0, 3, 2, -1)),
        (AvgPool(2, 2), ((4, 4, 4), 0, 0, 0, 2, 2, 0)),
        (GlobalAvgPool(), ((4,), 0, 0, 0, 8, 1, 0)),
        (nn.BatchNorm(use_running_average=True), ((8, 8, 4), 8, 0, 0, 1, 1, 0)),
    ],
)
def test_one_layer(layer, expected):
    row = one(layer)
    found = (row.output_shape, row.params, row.macs, row.padding_macs)
    field = (row.receptive_field, row.receptive_stride, row.receptive_offset)
    assert (*found, *field) == expected
    assert row.output_elements == np.prod(row.output_shape)
    assert row.output_bytes == 4 * row.output_elements


@pytest.mark.parametrize(
    ("window", "stride", "padding", "dilation"),
    [
        (3, 1, 1, 1),
        (3, 2, 1, 1),
        (5, 4, 2, 1),
        (3, 1, 2, 2),
        (7, 2, 3, 1),
        (2, 2, 1, 1),
    ],
)
def test_taps_on_padding(window, stride, padding, dilation):
    # A convolution of ones with ones counts the taps inside the image.
    met = lax.conv_general_dilated(
        jnp.ones((1, 13, 13, 1)),
        jnp.ones((window, window, 1, 1)),
        (stride, stride),
        [(padding, padding)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    layer = nn.Conv(1, (window,) * 2, stride, padding, kernel_dilation=dilation)
    row = one(layer, 13, 1)
    assert row.macs - row.padding_macs == int(met.sum())


def test_other_operations():
    assert one(MaxPool(3, 2)).other_operations == 3 * 3 * 4 * (9 - 1)
    assert one(AvgPool(2, 2)).other_operations == 4 * 4 * 4 * (3 + 1)  # sum, division
    # x - mean, times, plus a shift; once for each map: var + epsilon, root, times gain.
    norm = one(nn.BatchNorm(use_running_average=True))
    assert norm.other_operations == 3 * 8 * 8 * 4 + 3 * 4
    assert norm.transcendentals == 4


class Split(nn.Module):
    """Two branches with different fields, and a shortcut."""

    @nn.compact
    def __call__(self, x, *, train):
        near = nn.Conv(2, (1, 1), name="near")(x)
        far = nn.Conv(2, (3, 3), padding=1, name="far1")(x)
        far = nn.Conv(2, (5, 5), padding=2, name="far2")(far)
        x = concatenate(near, far)
        return nn.relu(x + nn.Conv(4, (3, 3), padding=1, name="last")(x))


def test_a_join_has_the_field_of_its_largest_path():
    rows = {row.name: row for row in layer_costs(Split(), 16, 3)}
    assert rows["near"].receptive_field == 1
    assert rows["far2"].receptive_field == 7
    joined = rows["concatenate"]
    assert joined.inputs == ("near", "far2")
    assert (joined.receptive_field, joined.receptive_offset) == (7, -3)
    assert rows["add"].inputs == ("concatenate", "last")
    assert (rows["add"].kind, rows["add"].receptive_field) == ("add", 9)
    assert rows["relu"].inputs == ("add",)


class Repeated(nn.Module):
    """Three equal layers as one loop."""

    @nn.compact
    def __call__(self, x, *, train):
        layer = nn.scan(
            lambda conv, x, _: (nn.relu(conv(x)), None),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=3,
        )
        return layer(nn.Conv(3, (3, 3), padding=1, name="loop"), x, None)[0]


def test_a_loop_is_refused():
    with pytest.raises(UsageError, match="Repeated: has a loop, whose rounds"):
        layer_costs(Repeated(), 8, 3)


LARGE = "googlenet_bn", "inception_v3", "inception_v4", "resnet1202"


@pytest.mark.parametrize(
    "name", mark_slow(TOTALS, [name for name in TOTALS if name not in LARGE])
)
def test_totals_are_the_papers_and_xla_agrees(name):
    params, macs, image_size, channels, num_classes = TOTALS[name]
    model = create_model(name, num_classes, **with_heads(name))
    costs = count_costs(model, image_size, channels)
    total = totals(costs.rows)
    assert (total["params"], total["macs"]) == (params, macs)
    assert total["auxiliary_params"] == AUX_PARAMS.get(name, 0)
    # Exactly equal, although XLA adds in float32; and so close to the exact sum.
    assert costs.xla_flops_expected == reported_xla_flops(costs.traced)
    assert total["xla_flops_exact"] == pytest.approx(costs.xla_flops_expected, rel=2e-5)
    analysis = costs.traced.lower().cost_analysis()
    assert total["transcendentals"] == analysis.get("transcendentals", 0)


@pytest.mark.parametrize("name", ["lenet", "alexnet", "cuda_convnet", "resnet20"])
def test_xla_agrees_in_bfloat16_and_for_batches(name):
    _, macs, image_size, channels, num_classes = TOTALS[name]
    model = create_model(name, num_classes, dtype=jnp.bfloat16)
    costs = count_costs(model, image_size, channels, batch=3)
    assert totals(costs.rows)["macs"] == 3 * macs
    assert costs.xla_flops_expected == reported_xla_flops(costs.traced)


@pytest.mark.parametrize("analysis", [None, {}, {"flops": -1.0}, []])
def test_missing_flops_of_xla_are_none(analysis):
    assert flops_of(analysis) is None


def test_vgg16_in_the_lectures_conventions():
    total = totals(rows_of("vgg16"))
    # The sums of CS231n's table, by hand: numbers of convolutions alone; numbers with
    # input, pools and dense layers; weights.
    assert total["conv_output_elements"] == 13_547_520
    assert total["activation_elements"] == 15_237_608
    assert total["params_without_biases"] == 138_344_128
    assert total["flops"] == 2 * 15_470_264_320


def test_alexnet_row_by_row():
    # Krizhevsky et al. 2012, Figure 2; filters of conv2 take 48 of the 96 maps.
    rows = {row.name: row for row in rows_of("alexnet")}
    params = {"conv1": 34_944, "conv2": 307_456, "conv3": 885_120, "fc6": 37_752_832}
    assert {name: rows[name].params for name in params} == params
    assert rows["input"].output_elements == 154_587
    assert rows["conv1"].macs == 105_415_200
    assert rows["conv1"].output_bytes == 4 * 290_400
    inputs = {"fc6": "pool5", "fc7": "fc6/relu", "fc8": "fc7/relu"}
    assert {name: rows[name].inputs for name in inputs} == {
        name: (source,) for name, source in inputs.items()
    }


class ByPlatform(nn.Module):
    """A layer with another form for CPUs, and with a custom gradient."""

    @nn.compact
    def __call__(self, x, *, train):
        kernel = self.param("kernel", nn.initializers.ones, (3, 3, 4, 5))

        def plain(x):
            numbers = ("NHWC", "HWIO", "NHWC")
            return lax.conv_general_dilated(
                x, kernel, (1, 1), "SAME", dimension_numbers=numbers
            )

        @jax.custom_vjp
        def layer(x):
            return lax.platform_dependent(
                x, cpu=lambda x: jnp.tile(x, 2)[..., :5], default=plain
            )

        layer.defvjp(lambda x: (layer(x), None), lambda _, cotangent: (cotangent,))
        return layer(x)


def test_the_plain_form_of_a_layer_is_counted():
    row = layer_costs(ByPlatform(), 8, 4)[1]
    assert (row.kind, row.receptive_field, row.params) == ("conv", 3, 180)
    assert row.macs == 8 * 8 * 5 * 36 and row.inputs == ("input",)


def test_equal_blocks_are_counted_one_by_one():
    # He et al. 2015, Section 4.2: 6n + 2 layers; n blocks each of 16, 32 and 64 maps.
    rows = rows_of("resnet1202")
    kernels = [row for row in rows if row.kind in ("conv", "dense")]
    assert len(kernels) == 1202 and all(row.params for row in kernels)
    widths = [row.output_shape[-1] for row in kernels[1:-1]]
    assert widths == [16] * 400 + [32] * 400 + [64] * 400
    assert kernels[-2].name == "conv4_200/conv2"
    # 3, then 2 px for each convolution, times the stride: 1, 2 or 4 after the first.
    field = 3 + 2 * 400 + 2 * (1 + 399 * 2) + 2 * (2 + 399 * 4)
    assert kernels[-2].receptive_field == field


def test_branches_and_shortcuts():
    rows = {row.name: row for row in rows_of("googlenet")}
    assert rows["inception_3a/concatenate"].inputs == tuple(
        f"inception_3a/{name}/relu" for name in ("1x1", "3x3", "5x5", "pool_proj")
    )
    assert rows["inception_3a/pool"].inputs == ("pool2",)
    assert rows["aux1/pool"].inputs == ("inception_4a/concatenate",)
    assert {row.auxiliary for row in rows.values() if row.name[:3] == "aux"} == {True}
    rows = {row.name: row for row in rows_of("resnet20")}
    assert rows["conv2_1/add"].inputs == ("conv2_1/bn2", "relu")
    assert rows["conv3_1/add"].inputs == ("conv3_1/bn2", "conv3_1/subsample")
    assert rows["conv3_1/subsample"].output_shape == (16, 16, 32)
