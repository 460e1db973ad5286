"""The page of the whole catalogue: one HTML file that needs no network connection.

Its tables are plain HTML; attributes of the cells have the numbers to sort by. Each
network has a section with its diagram, its layers and its published errors.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_arch.catalogue.block_diagram import Diagram, describe
from cnn_arch.catalogue.diagram import lay_out
from cnn_arch.catalogue.interactive_chart import bundle_script, describe_chart
from cnn_arch.catalogue.published import (
    ONE_CROP,
    PublishedError,
    family,
    published_errors,
)
from cnn_arch.costs.blocks import JOINS, Layer, find_blocks, find_layers
from cnn_arch.costs.layers import LayerCost
from cnn_arch.costs.summary import depth, totals
from cnn_arch.files import write_text
from cnn_arch.report.pages import make_environment

MOST_LAYERS = 260  # in a table; with more layers, repeated blocks are shown once


@dataclasses.dataclass(frozen=True)
class Entry:
    """A network on the page."""

    name: str
    family: str  # LeNet, AlexNet, VGG, ...
    paper: str  # authors and year
    image: tuple[int, int]  # side in px, and channels
    total: Mapping[str, int]  # result of summary.totals
    depth: int  # layers with weights on the longest path
    field: int  # largest receptive field of the maps, px
    errors: Sequence[PublishedError]  # the best to compare first
    diagram: Diagram
    rows: Sequence[tuple[Layer, int, str]]  # layer, repetitions, description
    num_layers: int  # with all repetitions


def write_report(folder: Path, networks: Mapping[str, Sequence[LayerCost]]) -> Path:
    """Writes index.html into the folder and returns its path."""
    entries = [make_entry(name, rows) for name, rows in networks.items()]
    environment = make_environment(Path(__file__).parent / "templates")
    page = environment.get_template("zoo.html").render(
        entries=entries,
        joins=JOINS,  # are drawn round
        spec=describe_chart(make_points(entries)),
        script=bundle_script(),
    )
    path = folder / "index.html"
    write_text(path, page)
    return path


def make_entry(name: str, rows: Sequence[LayerCost]) -> Entry:
    """Returns a network's entry for the rows of its cost table."""
    layers = find_layers(rows)
    shown = [(layer, 1, describe([layer])) for layer in layers]
    if len(layers) > MOST_LAYERS:
        shown = [
            (layer, len(block.names), describe([layer]))
            for block in find_blocks(layers)
            for layer in block.layers
        ]
    side, _, channels = rows[0].output_shape
    total = totals(rows)
    title = f"{name}: {total['params']:,} parameters, {total['macs']:,} multiply-adds"
    main = [layer for layer in layers if not layer.auxiliary]
    maps = [layer for layer in main if len(layer.output_shape) == 3]
    return Entry(
        name=name,
        family=family(name)[0],
        paper=family(name)[1],
        image=(side, channels),
        total=total,
        depth=depth(rows),
        field=max(layer.receptive_field for layer in maps),
        errors=published_errors(name),
        diagram=lay_out(title, rows),
        rows=shown,
        num_layers=len(layers),
    )


def make_points(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Returns a point of the chart for each network and data set with a top-1 error."""
    points = []
    for dataset in ("ImageNet", "CIFAR-10"):
        for entry in entries:
            known = [e for e in entry.errors if e.dataset == dataset and e.top1]
            if not known:
                continue
            error = known[0]
            both = [f"{v:.2f}" for v in (error.top1, error.top5) if v is not None]
            points.append(
                {
                    "network": entry.name,
                    "family": entry.family,
                    "dataset": dataset,
                    "macs": round(entry.total["macs"] / 1e9, 4),
                    "params": round(entry.total["params"] / 1e6, 3),
                    "memory": round(entry.total["activation_bytes"] / 2**20, 2),
                    "depth": entry.depth,
                    "field": entry.field,
                    "top1": error.top1,
                    "top5": error.top5,
                    "error": " (top-5: ".join(both) + ")" * (len(both) > 1),
                    "protocol": error.protocol,
                    "source": error.source,
                    "comparable": dataset != "ImageNet" or error.protocol == ONE_CROP,
                }
            )
    return points
