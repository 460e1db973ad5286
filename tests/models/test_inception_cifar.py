"""The small network of inception modules, counted by hand."""

import pytest

from cnn_arch.costs.layers import layer_costs
from cnn_arch.costs.summary import totals
from cnn_arch.models import create_model
from tests.models.conftest import output_shapes
from tests.paper_tables import GOOGLENET_TABLE1

# Half of Table 1's numbers of 3a to 4b: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool.
HALVES = [
    (32, 48, 64, 8, 16, 16),
    (64, 64, 96, 16, 48, 32),
    (96, 48, 104, 8, 24, 32),
    (80, 56, 112, 12, 32, 32),
]
SIDES = 16, 16, 8, 8


def by_hand(module):
    """Returns parameters and multiply-adds; BatchNorm has two numbers a map."""
    params, macs, maps = 27 * 96 + 2 * 96, 27 * 96 * 32**2, 96
    for (n1, r3, n3, r5, n5, proj), side in zip(HALVES, SIDES, strict=True):
        if module == "naive":
            weights, normed = maps * (n1 + 9 * n3 + 25 * n5), n1 + n3 + n5
            outputs = n1 + n3 + n5 + maps
        else:
            weights = maps * (n1 + r3 + r5 + proj) + 9 * r3 * n3 + 25 * r5 * n5
            normed, outputs = n1 + r3 + n3 + r5 + n5 + proj, n1 + n3 + n5 + proj
        params += weights + 2 * normed
        macs += weights * side**2
        maps = outputs
    return params + 10 * maps + 10, macs + 10 * maps


@pytest.mark.parametrize("module", ["bottleneck", "naive"])
def test_parameters_and_multiply_adds(module):
    model = create_model("inception_cifar", 10, module=module)
    total = totals(layer_costs(model, 32, 3))
    assert (total["params"], total["macs"]) == by_hand(module)


def test_with_googlenets_widths_its_modules_have_the_papers_weights():
    shapes = output_shapes(create_model("inception_cifar", 10, width=1.0), 32)
    assert shapes["inception_3a"] == (16, 16, 256)
    assert shapes["inception_4b"] == (8, 8, 512)
    rows = layer_costs(create_model("inception_cifar", 10, width=1.0), 32, 3)
    for block in ("3a", "3b", "4a"):
        own = [row for row in rows if row.name.startswith(f"inception_{block}/")]
        weights = sum(row.params for row in own if row.kind == "conv")
        assert weights / 1024 == pytest.approx(GOOGLENET_TABLE1[block][0], rel=0.08)


def test_the_kinds_have_equal_multiply_adds_at_these_widths():
    narrow = create_model("inception_cifar", 10, module="naive", width=0.22)
    macs = totals(layer_costs(narrow, 32, 3))["macs"]
    assert macs == pytest.approx(by_hand("bottleneck")[1], rel=0.01)
