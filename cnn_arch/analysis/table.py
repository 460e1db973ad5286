"""Tables: on the screen, as Markdown and as CSV."""

import csv
import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console

from cnn_arch.costs.layers import LayerCost

Columns = Mapping[str, Sequence[str]]  # printed cells, by header

FORMATS = "table", "markdown", "csv", "json"
# The columns of the table of layers, in order.
CELLS: dict[str, Callable[[LayerCost], str]] = {
    "layer": lambda row: row.name,
    "kind": lambda row: row.kind,
    "from": lambda row: "",  # filled by sources, which needs the row before
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
# Columns that are aligned to the left; numbers are aligned to the right.
TEXT = "layer", "kind", "from", "output", "collective", "axes", "pass", "by", "scaling"
# Columns that a narrow screen hides, the first one first.
SPARE = "elements", "other ops", "XLA flops", "kind", "offset", "stride", "from"


def sources(rows: Sequence[LayerCost]) -> list[str]:
    """Returns the names of each row's inputs, or "" if it is just the row before."""
    texts, before = [], ""
    for row in rows:
        module = f"{row.name.rpartition('/')[0]}/"
        names = [name.removeprefix(module) for name in row.inputs]
        usual = not row.inputs or row.inputs == (before,)
        texts.append("" if usual else ", ".join(names))
        before = row.name
    return texts


def columns(rows: Sequence[LayerCost]) -> dict[str, list[str]]:
    """Returns every column of the table of layers, as printed."""
    made = {header: [cell(row) for row in rows] for header, cell in CELLS.items()}
    return {**made, "from": sources(rows)}


def print_table(printed: Columns) -> list[str]:
    """Prints all columns that fit on stdout; returns the headers of the others."""
    shown = {header: cells for header, cells in printed.items() if any(cells)}
    console = Console(highlight=False)
    left_out = []
    for header in SPARE:
        if _width(shown) > console.width and header in shown:
            del shown[header]
            left_out.append(header)
    if not shown:
        return left_out
    # rich.table takes as long for 4,000 rows as counting their costs.
    widths = {header: _cell_width(header, cells) for header, cells in shown.items()}
    heading, *lines = zip(*((k, *cells) for k, cells in shown.items()), strict=True)
    console.print(_line(heading, widths), style="bold", markup=False, soft_wrap=True)
    console.out("\n".join(_line(line, widths) for line in lines), highlight=False)
    return left_out


def to_markdown(printed: Columns) -> str:
    """Formats columns as a Markdown table."""
    marks = ["---" if header in TEXT else "---:" for header in printed]
    lines = [list(printed), marks, *map(list, zip(*printed.values(), strict=True))]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_csv(rows: Sequence[LayerCost], extra: Mapping[str, Sequence[Any]]) -> str:
    """Formats every field of the rows, and extra columns, as CSV."""
    written: dict[str, Sequence[Any]] = {
        field.name: [getattr(row, field.name) for row in rows]
        for field in dataclasses.fields(LayerCost)
    }
    for name, mark in (
        ("output_shape", "x"),
        ("receptive_field_hw", "x"),
        ("inputs", " "),
    ):
        written[name] = [mark.join(map(str, value)) for value in written[name]]
    written["auxiliary"] = [int(value) for value in written["auxiliary"]]
    return plain_csv({**written, **extra})


def plain_csv(printed: Mapping[str, Sequence[Any]]) -> str:
    """Formats columns as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(printed)
    writer.writerows(zip(*printed.values(), strict=True))
    return text.getvalue()


def _number(value: int) -> str:
    return f"{value:,}" if value else ""


def _line(cells: Sequence[str], widths: Mapping[str, int]) -> str:
    aligned = [
        cell.ljust(width) if header in TEXT else cell.rjust(width)
        for cell, (header, width) in zip(cells, widths.items(), strict=True)
    ]
    return "  ".join(aligned).rstrip()


def _cell_width(header: str, cells: Sequence[str]) -> int:
    return max(map(len, [header, *cells]))


def _width(printed: Columns) -> int:
    widths = [_cell_width(header, cells) + 2 for header, cells in printed.items()]
    return sum(widths) - (2 if printed else 0)
