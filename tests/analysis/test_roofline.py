"""Minimum times of layers, computed by hand."""

import pytest
from flax import linen as nn

from cnn_arch.analysis.roofline import DEVICES, Device, floors
from cnn_arch.costs.blocks import fold
from cnn_arch.costs.layers import layer_costs
from cnn_arch.costs.modules import Stack
from cnn_arch.models.layers import MaxPool
from tests.costs.conftest import rows_of

DEVICE = Device("toy", {"float32": 1000.0, "bfloat16": 2000.0}, 100.0, "this test")


def test_by_hand():
    layers = [MaxPool(2, 2), nn.Dense(10, use_bias=False)]
    rows = layer_costs(Stack(layers), 4, 3)
    image, pool, dense = floors(rows, DEVICE, "float32")
    assert (image.seconds, image.bound) == (0, "")
    # 12 outputs of 3 comparisons; 48 numbers read, 12 written, 4 bytes each.
    assert pool.compute_seconds == pytest.approx(36 / 1000)
    assert pool.memory_seconds == pytest.approx(4 * (48 + 12) / 100)
    assert pool.seconds == pool.memory_seconds and pool.bound == "memory"
    # At each of 4 positions 30 multiply-adds; 12 read, 30 weights, 40 written.
    assert dense.compute_seconds == pytest.approx(2 * 4 * 30 / 1000)
    assert dense.memory_seconds == pytest.approx(4 * (12 + 30 + 40) / 100)


def test_a_sum_reads_only_its_other_summand():
    rows = fold(rows_of("resnet20"))
    names = [row.name for row in rows]
    times = dict(zip(names, floors(rows, DEVICE, "float32"), strict=True))
    one = times["conv2_1/add"].memory_seconds
    assert one == pytest.approx(4 * 32 * 32 * 16 / 100)
    assert times["conv3_1/subsample"].seconds == 0


def test_precision_changes_both_ceilings():
    rows = layer_costs(Stack([nn.Dense(10, use_bias=False)]), 4, 3)
    full, half = (floors(rows, DEVICE, kind)[1] for kind in ("float32", "bfloat16"))
    assert half.compute_seconds == full.compute_seconds / 2
    assert half.memory_seconds == full.memory_seconds - 2 * 30 / 100  # the weights


def test_peaks_follow_from_cores_and_clocks():
    # FLOPs a cycle, times MHz. The V100 has 640 tensor cores of 64 multiply-adds each
    # in float16; the A100 has 432 of 256, the H100 528 of 512.
    for name, flops, megahertz, precision in (
        ("gtx580", 2 * 512, 1544, "float32"),
        ("v100", 2 * 5120, 1530, "float32"),
        ("v100", 2 * 640 * 64, 1530, "bfloat16"),
        ("a100", 2 * 432 * 256, 1410, "bfloat16"),
        ("h100", 2 * 528 * 512, 1830, "bfloat16"),
    ):
        peak = DEVICES[name].peak_flops[precision]
        assert peak == pytest.approx(flops * megahertz * 1e6, rel=3e-3), name
    for name in ("a100", "h100"):  # TF32 at half the rate
        peaks = DEVICES[name].peak_flops
        assert peaks["float32"] * 2 == pytest.approx(peaks["bfloat16"])


@pytest.mark.parametrize("name", DEVICES)
def test_vgg16_waits_for_arithmetic_and_its_dense_layers_for_memory(name):
    rows = fold(rows_of("vgg16"))
    found = floors(rows, DEVICES[name], "float32")
    bounds = {row.name: floor.bound for row, floor in zip(rows, found, strict=True)}
    assert bounds["fc6"] == bounds["pool1"] == "memory"
    assert bounds["conv3_2"] == "compute"
