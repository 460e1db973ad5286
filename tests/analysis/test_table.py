"""The table of layers in all its forms."""

import csv
import io

from cnn_arch.analysis.table import columns, print_table, to_csv, to_markdown
from cnn_arch.costs.blocks import fold
from cnn_arch.costs.layers import layer_costs
from cnn_arch.models import create_model
from tests.costs.conftest import rows_of

ROWS = rows_of("resnet20")
LENET = layer_costs(create_model("lenet", 10), 28, 1)


def test_inputs_that_are_not_the_row_before():
    printed = columns(fold(ROWS))
    sources = dict(zip(printed["layer"], printed["from"], strict=True))
    assert sources["conv1"] == sources["conv2_1/conv2"] == ""
    assert sources["conv2_1/add"] == "conv2, conv1"
    assert sources["conv3_1/subsample"] == "conv2_3/add"


def test_csv_and_markdown():
    records = list(
        csv.DictReader(io.StringIO(to_csv(LENET, {"extra": range(len(LENET))})))
    )
    assert len(records) == len(LENET)
    assert records[1]["name"] == "conv1" and records[1]["output_shape"] == "28x28x6"
    assert records[1]["params"] == "156" and records[1]["extra"] == "1"
    lines = to_markdown({"layer": ["a", "b"], "MACs": ["1", "2"]}).splitlines()
    assert lines == ["| layer | MACs |", "| --- | ---: |", "| a | 1 |", "| b | 2 |"]


def test_a_narrow_screen_hides_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert print_table(columns(ROWS)) == []
    wide = capsys.readouterr().out.splitlines()
    monkeypatch.setenv("COLUMNS", "80")
    left_out = print_table(columns(ROWS))
    narrow = capsys.readouterr().out.splitlines()
    assert "elements" in left_out and len(wide) == len(narrow) == len(ROWS) + 1
    assert max(map(len, narrow)) <= 80 < max(map(len, wide))
    assert any(line.startswith("conv2_1/bn1 ") for line in narrow)


def test_a_table_without_rows_prints_nothing(capsys):
    assert print_table({"layer": [], "bytes": []}) == []
    assert capsys.readouterr().out == ""
