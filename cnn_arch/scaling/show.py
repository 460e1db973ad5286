"""Prints the messages of many devices, and how training scales, for analyze.py."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from cnn_arch import settings
from cnn_arch.analysis import roofline, table
from cnn_arch.drawing import canvas
from cnn_arch.errors import UsageError
from cnn_arch.files import make_folder
from cnn_arch.models.build import build_model, check_image_size
from cnn_arch.parallel import mesh as meshes
from cnn_arch.scaling import chart, collectives, message_time, prediction
from cnn_arch.scaling.collectives import Collective
from cnn_arch.scaling.prediction import Prediction
from cnn_arch.screen import Screen


def show_collectives(config: ConfigDict, form: str, screen: Screen) -> None:
    """Compiles a recipe's step for its mesh and prints its messages.

    Args:
      config: with the step's ``mesh`` and ``batch_size``.
      form: one of ``table.FORMATS``. JSON and CSV have a row for each collective
        operation; the others count equal ones.
      screen: gets the lines around the table.

    Raises:
      UsageError: the network, its images or the batch do not fit the mesh.
    """
    # 0 means all devices; none are real here, so simulate two.
    config = settings.derive(config, {"mesh.data": config.mesh.data or 2})
    data, model = config.mesh.data, config.mesh.model
    collectives.open_virtual_devices(data * model)
    network = build_model(config, config.data.num_classes or 1000)
    size, channels = config.data.image_size, config.data.channels
    check_image_size(network, config.model.name, size, channels, "--image_size")
    mesh = meshes.make_mesh(data, model)
    meshes.check_batch_size(config.batch_size, mesh, config.accumulate)
    screen.say("mesh", f"data {data} x model {model}, virtual devices of this CPU")
    with screen.timed("compile", "training step"):
        found = collectives.of_config(config, mesh)
    if form in ("json", "csv"):
        _print_records([row.as_record() for row in found], form)
        return
    printed = _count_equal(found)
    if form == "markdown":
        print(table.to_markdown(printed), end="")
        return
    if not screen.is_quiet:
        screen.row()
        table.print_table(printed)
        screen.row()
    _sums(found, screen)
    # Of a loop, XLA counts only one round.
    if screen.is_quiet or config.scan_blocks or config.accumulate > 1:
        return
    whole = collectives.device_flops(config, meshes.make_mesh(1, 1))
    own = collectives.device_flops(config, mesh)
    if own and whole:
        screen.say("FLOPs", f"{own:,} for each device, by XLA's count: this is")
        screen.say("", f"1 / {whole / own:.2f} of the {whole:,} on one device")


def _count_equal(found: Sequence[Collective]) -> dict[str, list[str]]:
    """Returns the columns of the table, with one row for equal messages."""
    counted = Counter(found)
    return {
        "collective": [row.kind for row in counted],
        "axes": [", ".join(row.axes) for row in counted],
        "layer": [row.layer for row in counted],
        "pass": [row.direction for row in counted],
        "bytes": [f"{row.bytes:,}" for row in counted],
        "by": [row.inserted_by for row in counted],
        "times": [str(times) for times in counted.values()],
    }


def _sums(found: Sequence[Collective], screen: Screen) -> None:
    by_axes: Counter[str] = Counter()
    for row in found:
        by_axes[" and ".join(row.axes) or "other groups"] += row.bytes
    texts = [f"over {axes} {size:,}" for axes, size in by_axes.items()]
    foreign = sum(row.inserted_by != "us" for row in found)
    screen.say("bytes", f"{'; '.join(texts) or 'none'}", last=True)
    screen.say("added", f"by XLA's partitioner: {foreign or 'none'}")


def show_scaling(
    config: ConfigDict,
    asked: Mapping[str, Any],
    figures: str | None,
    form: str,
    screen: Screen,
) -> None:
    """Predicts training on many devices, as a table and optionally a figure.

    Args:
      config: its ``batch_size`` is for each device (weak scaling) or for all (strong).
      asked: the options ``scale``, ``roofline``, ``link`` and ``latency``, us.
      figures: a folder for the figure, or None.
      form: one of ``table.FORMATS``.
      screen: gets the lines around the table.

    Raises:
      UsageError: an option is missing or wrong, or the network cannot be split.
    """
    if config.accumulate > 1:
        raise UsageError(
            f"--config.accumulate={config.accumulate}: --scale predicts steps of one "
            "part; leave it out"
        )
    numbers, link = message_time.parse_scaling(asked)
    found = prediction.networks(config, numbers[-1])
    device = roofline.find_device(asked["roofline"], config.precision, screen)
    setting = prediction.Setting(config.batch_size, device, link)
    made = prediction.predict_all(found, numbers, setting)
    record: dict[str, Any] = {
        "model": config.model.name,
        "precision": config.precision,
        "batch": config.batch_size,
        "device": device.name,
        "link": dataclasses.asdict(link),
        "predictions": [each.as_record() for each in made],
    }
    if figures:
        folder = Path(figures)
        make_folder(folder, f"--figures={folder}")
        figure = chart.draw(config, found, made, setting)
        files = canvas.write_slide(figure, folder, f"{config.model.name}-scaling")
        record["wrote"] = [str(path) for path in files]
    if form == "json":
        print(json.dumps(record, indent=2))
    elif form == "csv":
        _print_records(record["predictions"], "csv")
    elif form == "markdown":
        print(table.to_markdown(_as_columns(made)), end="")
    elif not screen.is_quiet:
        _print_scaling(record, made, screen)
    screen.say("split", _where_split_wins(made), last=form == "table")
    if figures:
        screen.say("wrote", f"{record['wrote'][0]}  .svg")


def _print_scaling(
    record: dict[str, Any], made: Sequence[Prediction], screen: Screen
) -> None:
    screen.say("device", record["device"])
    rate, delay = record["link"]["bandwidth"], record["link"]["latency_seconds"]
    screen.say("link", f"{rate / 1e9:,.4g} GB/s each way, {1e6 * delay:g} us a message")
    if source := record["link"]["source"]:
        screen.say("", f"source: {source}")
    screen.row()
    table.print_table(_as_columns(made))
    screen.row()
    for label, text in (
        ("weak", f"{record['batch']} images for each device; strong: for all together"),
        ("mesh", "data x model: parts of the batch, devices that share the network"),
        ("ms", "of a step without overlap, and of its messages"),
        ("%", "of the images/s of as many single devices; with overlap, the"),
        ("", "gradients travel during the backward pass"),
    ):
        screen.say(label, text)
    if any(each.model > 1 for each in made):
        screen.say("*", "the faster of data parallel and split")


def _where_split_wins(made: Sequence[Prediction]) -> str:
    """Describes for which numbers of devices a split is faster, without overlap."""
    splits = [each for each in made if each.model > 1]
    if not splits:
        return "none is possible with this network and these numbers of devices"
    parallel = {(each.mode, each.devices): each for each in made if each.model == 1}
    faster = []
    for mode in prediction.MODES:
        numbers = [
            str(each.devices)
            for each in splits
            if each.mode == mode
            and each.seconds <= parallel[mode, each.devices].seconds
        ]
        faster.append(f"{mode} {', '.join(numbers) or 'none'}")
    return f"faster on {'; '.join(faster)} devices"


def _as_columns(made: Sequence[Prediction]) -> dict[str, list[str]]:
    """Returns the cells of the table; the faster of two ways has a star."""
    split = any(each.model > 1 for each in made)

    def percent(field: str) -> list[str]:
        best: dict[tuple[str, int], float] = {}
        for each in made:
            key = each.mode, each.devices
            best[key] = max(best.get(key, 0.0), getattr(each, field))
        cells = []
        for each in made:
            value = getattr(each, field)
            star = "*" if value == best[each.mode, each.devices] else " "
            cells.append(f"{100 * value:.1f}{star if split else ''}")
        return cells

    return {
        "scaling": [each.mode for each in made],
        "devices": [f"{each.devices:,}" for each in made],
        "mesh": [f"{each.data} x {each.model}" for each in made],
        "images": [f"{each.images:,}" for each in made],
        "ms": [f"{1e3 * each.seconds:,.2f}" for each in made],
        "messages": [f"{1e3 * each.message_seconds:,.2f}" for each in made],
        "images/s": [f"{each.images_per_second:,.0f}" for each in made],
        "%": percent("efficiency"),
        "overlap": percent("overlapped_efficiency"),
    }


def _print_records(records: Sequence[dict[str, Any]], form: str) -> None:
    """Prints records of the same keys as JSON or CSV."""
    if form == "json":
        print(json.dumps(records, indent=2))
        return
    columns = {
        key: [_words(record[key]) for record in records]
        for key in (records[0] if records else collectives.KEYS)
    }
    print(table.plain_csv(columns), end="")


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
