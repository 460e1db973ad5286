"""The fields that AlexNet's paper compares, by shapes and costs."""

import numpy as np
import pytest

from cnn_arch.costs.layers import layer_costs
from cnn_arch.costs.summary import totals
from cnn_arch.models import create_model
from tests.costs.conftest import rows_of
from tests.models.conftest import abstract_variables, output_shapes
from tests.paper_tables import TOTALS

PARAMS, MACS, SIDE, *_ = TOTALS["alexnet"]


def test_without_normalisation_only_the_normalisation_is_missing():
    rows = layer_costs(create_model("alexnet", local_response_norm=False), SIDE, 3)
    names = [row.name for row in rows_of("alexnet")]
    assert [row.name for row in rows] == [
        n for n in names if n not in ("norm1", "norm2")
    ]
    assert totals(rows)["params"] == PARAMS and totals(rows)["macs"] == MACS


@pytest.mark.parametrize("side", [67, 99, 131, 227])
def test_pools_that_do_not_overlap_give_maps_of_the_same_sides(side):
    """Section 3.4: "s = 2, z = 2, which produces output of equivalent dimensions"."""
    overlapping, apart = create_model("alexnet"), create_model("alexnet", pool_window=2)
    assert output_shapes(overlapping, side) == output_shapes(apart, side)


def test_at_227_px_the_sides_are_the_papers():
    model = create_model("alexnet", pool_window=2)
    shapes = output_shapes(model, SIDE)
    sides = [shapes[pool][0] for pool in ("pool1", "pool2", "pool5")]
    assert sides == [27, 13, 6]
    kernel = abstract_variables(model, SIDE)["params"]["fc6"]["kernel"]
    assert kernel.shape == (6 * 6 * 256, 4096)
    rows = {row.name: row for row in layer_costs(model, SIDE, 3)}
    assert rows["pool1"].other_operations == np.prod([27, 27, 96, 3])  # 3 of 4 numbers
