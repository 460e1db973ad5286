"""Layers and blocks, compared with the papers' figures and tables."""

import pytest

from cnn_arch.catalogue.block_diagram import describe
from cnn_arch.costs.blocks import find_blocks, find_layers, fold
from cnn_arch.costs.layers import layer_costs
from cnn_arch.costs.summary import totals
from cnn_arch.models import create_model
from tests.costs.conftest import rows_of
from tests.paper_tables import TOTALS


@pytest.mark.parametrize("network", ["lenet5", "resnet20", "googlenet"])
def test_folding_changes_no_sum(network):
    rows = rows_of(network)
    before, after = totals(rows), totals(fold(rows))
    del before["batch_norm_operations"], after["batch_norm_operations"]
    assert before == after


def test_folded_rows():
    rows = {row.name: row for row in fold(rows_of("resnet20"))}
    kinds = {"input", "conv", "add", "subsample", "global_avg_pool", "dense"}
    assert {row.kind for row in rows.values()} == kinds
    assert rows["conv1"].params == 3 * 9 * 16 + 2 * 16  # with BatchNorm
    assert rows["conv2_1/conv1"].inputs == ("conv1",)
    assert rows["conv2_1/add"].inputs == ("conv2_1/conv2", "conv1")
    lenet = layer_costs(create_model("lenet", 10), 28, 1)
    names = "input conv1 pool1 conv2 pool2 fc1 fc2 fc3"
    assert [row.name for row in fold(lenet)] == names.split()


def test_the_coefficients_of_a_pool_are_counted_with_it():
    rows = fold(rows_of("lenet5"))
    assert "scale" not in {row.kind for row in rows}
    # LeCun et al. 1998, Section II.B: S2 has 12 trainable parameters, S4 has 32.
    assert [row.params for row in rows if row.kind == "avg_pool"] == [12, 32]


def test_alexnet_has_the_layers_of_its_paper():
    layers = {layer.name: layer for layer in find_layers(rows_of("alexnet"))}
    names = "input conv1 norm1 pool1 conv2 norm2 pool2 conv3 conv4 conv5 pool5"
    assert list(layers) == [*names.split(), "fc6", "fc7", "fc8"]
    # Krizhevsky et al. 2012, Section 3.5: 11x11 by 4, 5x5, 3x3; Section 3.4: 3x3 by 2.
    windows = {name: (layer.window, layer.stride) for name, layer in layers.items()}
    assert windows["conv1"] == ((11, 11), 4)
    assert windows["conv2"] == ((5, 5), 1)
    assert windows["pool2"] == ((3, 3), 2)
    assert windows["fc6"] == (None, 1)
    assert layers["fc6"].notes == ("ReLU",)
    assert layers["norm1"].inputs == ("conv1",)


def test_operations_after_a_convolution_are_counted_with_it():
    layers = {layer.name: layer for layer in find_layers(rows_of("resnet20"))}
    # 3x3x16x16 weights; scale and shift of 16 maps.
    assert layers["conv2_1/conv1"].params == 9 * 16 * 16 + 32
    assert layers["conv2_1/conv1"].notes == ("BN", "ReLU")
    assert layers["conv3_1/add"].inputs == ("conv3_1/conv2", "conv3_1/subsample")


@pytest.mark.parametrize("network", ["lenet5", "googlenet_bn", "inception_v4"])
def test_layers_have_all_parameters_and_macs(network):
    layers = [layer for layer in find_layers(rows_of(network)) if not layer.auxiliary]
    params, macs, *_ = TOTALS[network]
    assert sum(layer.params for layer in layers) == params
    assert sum(layer.macs for layer in layers) == macs


def test_kernels_that_are_not_square():
    layers = {layer.name: layer for layer in find_layers(rows_of("inception_v4"))}
    # Szegedy et al. 2016, Figures 5 and 6.
    windows = {
        "Mixed_6c/branch7x7_2": (1, 7),
        "Mixed_6c/branch7x7dbl_3": (7, 1),
        "Mixed_7d/branch3x3_2a": (1, 3),
        "Mixed_7d/branch3x3_2b": (3, 1),
        "Mixed_7d/pool": (3, 3),
    }
    assert {name: layers[name].window for name in windows} == windows


def test_resnet152_repeats_the_blocks_of_table_1():
    blocks = find_blocks(find_layers(rows_of("resnet152")))
    times = {block.names[0]: len(block.names) for block in blocks}
    # He et al. 2015, Table 1: 3, 8, 36, 3; the first block of a stage differs.
    assert times["conv2_2"] == 2 and times["conv3_2"] == 7
    assert times["conv4_2"] == 35 and times["conv5_2"] == 2
    assert times["conv4_1"] == times["conv1"] == 1


def test_pooling_to_a_fixed_size_has_no_window():
    layers = {layer.name: layer for layer in find_layers(rows_of("googlenet_bn"))}
    assert describe([layers["aux1/pool"]]) == "mean to 4x4"  # torchvision's head
    assert describe([layers["inception_4a/pool"]]) == "max 3x3"
    assert describe([layers["inception_4a/5x5"]]) == "3x3, 48"  # its known bug
