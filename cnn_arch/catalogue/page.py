"""The report of the whole catalogue: one page that opens from disk without a network.

Tables are plain HTML, sorted by numbers that stand in the cells; each network has a
section with its diagram, its layers and its published errors.
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

MOST_LAYERS = 260  # of a table; beyond, blocks that repeat are shown once


@dataclasses.dataclass(frozen=True)
class Entry:
    """A network as the report shows it.

    Attributes:
      name: in the catalogue.
      family: LeNet, AlexNet, VGG, ...
      paper: authors and year.
      image: side and channels of the image, px.
      total: ``costs.totals``.
      depth: layers with weights on the longest path.
      field: receptive field of the last maps, px.
      errors: published ones, what compares best first.
      diagram: of the architecture.
      rows: of its table: layer, how often it stands there, and what it does.
      num_layers: all of them, before repetitions were left out.
    """

    name: str
    family: str
    paper: str
    image: tuple[int, int]
    total: Mapping[str, int]
    depth: int
    field: int
    errors: Sequence[PublishedError]
    diagram: Diagram
    rows: Sequence[tuple[Layer, int, str]]
    num_layers: int


def write_report(folder: Path, networks: Mapping[str, Sequence[LayerCost]]) -> Path:
    """Writes index.html and returns its path.

    Args:
      folder: is made if it is not there.
      networks: the rows of each network of the catalogue.
    """
    entries = [make_entry(name, rows) for name, rows in networks.items()]
    page = (
        make_environment(Path(__file__).parent / "templates")
        .get_template("zoo.html")
        .render(
            entries=entries,
            joins=JOINS,  # are drawn round
            spec=describe_chart(make_points(entries)),
            script=bundle_script(),
        )
    )
    path = folder / "index.html"
    write_text(path, page)
    return path


def make_entry(name: str, rows: Sequence[LayerCost]) -> Entry:
    """Gathers what the report says about a network."""
    layers = find_layers(rows)
    main = [layer for layer in layers if not layer.auxiliary]
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
