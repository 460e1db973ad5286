"""The table of a network's layers: on the screen, as Markdown, CSV or JSON."""

import csv
import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from cnn_arch.costs.layers import LayerCost

Columns = Mapping[str, Sequence[str]]  # cells by header, as printed

FORMATS = "table", "markdown", "csv", "json"
# The columns in the order in which they stand.
CELLS: dict[str, Callable[[LayerCost], str]] = {
    "layer": lambda row: row.name,
    "kind": lambda row: row.kind,
    "from": lambda row: "",  # needs the row before: see sources
    "output": lambda row: "x".join(map(str, row.output_shape)),
    "params": lambda row: _number(row.params),
    "MACs": lambda row: _number(row.macs),
    "other ops": lambda row: _number(row.other_operations),
    "XLA flops": lambda row: _number(row.xla_flops),
    "elements": lambda row: _number(row.output_elements),
    "KB": lambda row: f"{row.output_bytes / 1024:,.1f}",
    "field": lambda row: str(row.receptive_field),
    "stride": lambda row: str(row.receptive_stride),
    "offset": lambda row: str(row.receptive_offset),
}
# To the left; numbers to the right.
TEXT = "layer", "kind", "from", "output", "collective", "axes", "pass", "by", "scaling"
# Those that a narrow screen lacks, the first to go first.
SPARE = "elements", "other ops", "XLA flops", "kind", "offset", "stride", "from"


def sources(rows: Sequence[LayerCost]) -> list[str]:
    """Says for each row what feeds it, where that is not just the row before."""
    texts, before = [], ""
    for row in rows:
        module = f"{row.name.rpartition('/')[0]}/"
        names = [name.removeprefix(module) for name in row.inputs]
        usual = not row.inputs or row.inputs == (before,)
        texts.append("" if usual else ", ".join(names))
        before = row.name
    return texts


def columns(rows: Sequence[LayerCost]) -> dict[str, list[str]]:
    """Returns every column as it is printed."""
    made = {header: [cell(row) for row in rows] for header, cell in CELLS.items()}
    return {**made, "from": sources(rows)}


def print_table(printed: Columns) -> list[str]:
    """Prints columns on stdout, as many as fit; returns the headers of the others."""
    shown = {header: cells for header, cells in printed.items() if any(cells)}
    console = Console(highlight=False)
    left_out = []
    for header in SPARE:
        if _width(shown) > console.width and header in shown:
            del shown[header]
            left_out.append(header)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for header in shown:
        justify = "left" if header in TEXT else "right"
        table.add_column(header, justify=justify, no_wrap=True)
    for line in zip(*shown.values(), strict=True):
        table.add_row(*line)
    console.width = max(console.width, _width(shown))
    console.print(table, markup=False)
    return left_out


def to_markdown(printed: Columns) -> str:
    """Writes columns as a table of Markdown."""
    marks = ["---" if header in TEXT else "---:" for header in printed]
    lines = [list(printed), marks, *map(list, zip(*printed.values(), strict=True))]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_csv(rows: Sequence[LayerCost], extra: Mapping[str, Sequence[Any]]) -> str:
    """Writes every field of the rows, and extra columns, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(field.name for field in dataclasses.fields(LayerCost)), *extra])
    for index, row in enumerate(rows):
        values = dataclasses.asdict(row) | {
            "output_shape": "x".join(map(str, row.output_shape)),
            "receptive_field_hw": "x".join(map(str, row.receptive_field_hw)),
            "inputs": " ".join(row.inputs),
            "auxiliary": int(row.auxiliary),
        }
        writer.writerow([*values.values(), *(extra[key][index] for key in extra)])
    return text.getvalue()


def plain_csv(printed: Columns) -> str:
    """Writes columns as CSV, as they are printed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(printed)
    writer.writerows(zip(*printed.values(), strict=True))
    return text.getvalue()


def _number(value: int) -> str:
    return f"{value:,}" if value else ""


def _width(printed: Columns) -> int:
    return sum(
        max(map(len, [header, *cells])) + 2 for header, cells in printed.items()
    ) - (2 if printed else 0)
