"""LeNet-5 against its paper's layers and table."""

from functools import partial

import jax
import numpy as np

from cnn_arch.models import create_model
from cnn_arch.models.lenet import TableConv
from tests.models.conftest import fresh_variables, num_params
from tests.paper_tables import LENET5_LAYERS


def test_layer_by_layer():
    params = fresh_variables(create_model("lenet5", 10), 32, 1)["params"]
    for layer, count in LENET5_LAYERS.items():
        assert num_params(params[layer]) == count, layer


def test_c3_reads_its_inputs_of_table_1_and_no_others():
    # Table I of the paper: rows are maps of S2, columns maps of C3.
    table = """
        X...XXX..XXXX.XX
        XX...XXX..XXXX.X
        XXX...XXX..X.XXX
        .XXX..XXXX..X.XX
        ..XXX..XXXX.XX.X
        ...XXX..XXXX.XXX
    """.split()
    variables = fresh_variables(create_model("lenet5", 10), 32, 1)
    kernel = variables["params"]["C3"]["kernel"]
    assert kernel.shape == (5, 5, sum(row.count("X") for row in table))
    maps = jax.random.normal(jax.random.key(1), (1, 14, 14, 6))
    apply = partial(TableConv().apply, {"params": variables["params"]["C3"]})
    before = apply(maps)
    for row in range(6):
        changed = np.any(apply(maps.at[..., row].add(1.0)) != before, axis=(0, 1, 2))
        assert "".join(np.where(changed, "X", ".")) == table[row]
