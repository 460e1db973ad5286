"""Stacks of small kernels against one large kernel, counted by hand."""

import pytest

from cnn_arch.costs.layers import layer_costs
from cnn_arch.costs.summary import depth, totals
from cnn_arch.models import create_model

PIXELS = 32**2 + 16**2 + 8**2  # of the three stages


def rows(*kernel_sizes, **fields):
    model = create_model("kernel_stacks", 10, kernel_sizes=kernel_sizes, **fields)
    return layer_costs(model, 32, 3)


# Simonyan and Zisserman 2014, Section 2.3: 3 (3^2 C^2) = 27 C^2 against 7^2 C^2.
@pytest.mark.parametrize(
    ("kernel_sizes", "squares"), [((3, 3, 3), 27), ((7,), 49), ((3, 3), 18), ((5,), 25)]
)
def test_parameters_and_multiply_adds(kernel_sizes, squares):
    total = totals(rows(*kernel_sizes))
    stem, head, convolutions = 27 * 32, 32 * 10, 1 + 3 * len(kernel_sizes)
    weights = stem + 3 * squares * 32**2 + head
    assert total["params"] == weights + 10 + 2 * 32 * convolutions
    assert total["macs"] == stem * 32**2 + squares * 32**2 * PIXELS + head


@pytest.mark.parametrize(("small", "large"), [((3, 3, 3), (7,)), ((3, 3), (5,))])
def test_both_see_as_much_of_the_image(small, large):
    stacked, single = rows(*small), rows(*large)
    for stage in (2, 3, 4):
        fields = [
            {r.name: r.receptive_field for r in found}[f"pool{stage}"]
            for found in (stacked, single)
        ]
        assert fields[0] == fields[1]
    assert depth(stacked) == 2 + 3 * len(small) and depth(single) == 2 + 3
    assert sum(row.name.endswith("relu") for row in stacked) == 1 + 3 * len(small)


def test_equal_multiply_adds_at_these_widths():
    macs = totals(rows(3, 3, 3))["macs"]
    assert totals(rows(7, width=0.75))["macs"] == pytest.approx(macs, rel=0.02)
