"""Multiply-adds of single layers, by hand."""

import pytest
from flax import linen as nn

from cnn_arch.analysis.costs import count_macs


class One(nn.Module):
    """A network of one layer."""

    layer: nn.Module

    def __call__(self, x, *, train):
        return self.layer(x)


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (nn.Conv(6, (5, 5), padding="VALID"), 28 * 28 * 6 * 5 * 5 * 3),
        (nn.Conv(64, (7, 7), strides=2, padding=3), 16 * 16 * 64 * 7 * 7 * 3),
        (nn.Conv(6, (3, 3), padding=1, feature_group_count=3), 32 * 32 * 6 * 9),
        (nn.Conv(4, (3, 3), kernel_dilation=2, padding="VALID"), 28 * 28 * 4 * 27),
        (nn.Dense(10), 32 * 32 * 3 * 10),
        (nn.BatchNorm(use_running_average=True), 0),
    ],
)
def test_one_layer(layer, macs):
    assert count_macs(One(layer), 32, 3) == macs


def test_scan_counts_its_length():
    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            layer = nn.scan(
                lambda conv, x, _: (conv(x), None),
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=5,
            )
            return layer(nn.Conv(3, (3, 3), padding=1), x, None)[0]

    assert count_macs(Stack(), 32, 3) == 5 * 32 * 32 * 3 * 27
