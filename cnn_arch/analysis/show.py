"""What analyze.py says: records for other programs, and lines for the screen."""

import json
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from cnn_arch.analysis import roofline, table
from cnn_arch.analysis.roofline import Device, Floor
from cnn_arch.costs.layers import Costs, LayerCost
from cnn_arch.costs.summary import totals
from cnn_arch.costs.training_step import sees_image_only
from cnn_arch.costs.xla import reported_xla_flops
from cnn_arch.screen import Screen

Record = dict[str, Any]
UNAVAILABLE = "unavailable"  # what XLA or a device does not tell
IN_JSON = (
    *("name", "kind", "output_shape", "params", "biases", "macs", "padding_macs"),
    *("other_operations", "transcendentals", "xla_flops"),
    *("output_elements", "output_bytes", "receptive_field", "receptive_stride"),
    *("receptive_offset", "receptive_field_hw", "inputs", "auxiliary"),
)


def as_record(config: ConfigDict, costs: Costs) -> Record:
    """Returns ``model``, ``input`` [B, H, W, C], ``precision`` and ``totals``."""
    size = config.data.image_size
    reported = reported_xla_flops(costs.traced)
    return {
        "model": config.model.name,
        "input": [config.batch_size, size, size, config.data.channels],
        "precision": config.precision,
        "totals": {
            **totals(costs.rows),
            "xla_flops": UNAVAILABLE if reported is None else reported,
            "xla_flops_expected": costs.xla_flops_expected,
        },
    }


def open_device(config: ConfigDict, screen: Screen) -> Any:
    """Returns the mesh of the one device that is measured or compiled for."""
    from cnn_arch import session

    with config.unlocked():
        config.mesh.data = config.mesh.model = 1
    return session.open_devices(config, screen)


def compiled_memory(config: ConfigDict, mesh: Any, screen: Screen) -> Record:
    """Compiles the recipe's step; returns what its ``memory_analysis`` says, in bytes.

    ``xla_argument_bytes`` are state and batch, ``xla_temporary_bytes`` what the step
    needs besides, activations among it.
    """
    from cnn_arch.scaling import collectives

    with screen.timed("compile", "training step"):
        traced = collectives.trace_step(config, mesh, loops=True)
        analysis = traced.lower().compile().memory_analysis()
    if analysis is None:
        return {
            "xla_argument_bytes": UNAVAILABLE,
            "xla_temporary_bytes": UNAVAILABLE,
        }
    return {
        "xla_argument_bytes": analysis.argument_size_in_bytes,
        "xla_temporary_bytes": analysis.temp_size_in_bytes,
    }


def find_device(name: str, config: ConfigDict, screen: Screen) -> Device:
    """Returns the device of that name, or ``this`` one, measured."""
    if name != "this":
        return roofline.DEVICES[name]
    with screen.timed("ceilings", "of this machine"):
        return roofline.measure_this(config.precision)


def floors(
    name: str, rows: Sequence[LayerCost], config: ConfigDict, screen: Screen
) -> tuple[list[Floor], Record]:
    """Returns each layer's least time on a device, and a record of the whole.

    Args:
      name: a key of ``DEVICES``, or ``this``.
      rows: folded.
      config: ``precision`` and ``batch_size`` are read.
      screen: where it is told that this machine is measured.
    """
    device = find_device(name, config, screen)
    found = roofline.floors(rows, device, config.precision)
    seconds = sum(floor.seconds for floor in found)
    # Backward, a layer takes twice the forward pass: once for the gradient of its
    # weights, once for that of its input, which the first layers do not need.
    step_seconds = sum(
        floor.seconds * (2 if sees_image_only(row, rows) else 3)
        for floor, row in zip(found, rows, strict=True)
    )
    return found, {
        "device": device.name,
        "source": device.source,
        "peak_flops": device.peak_flops[config.precision],
        "bandwidth_bytes": device.bandwidth,
        "seconds": seconds,
        "images_per_second": config.batch_size / seconds,
        "step_images_per_second": config.batch_size / step_seconds,
        "memory_bound_layers": sum(floor.bound == "memory" for floor in found),
        "compute_bound_layers": sum(floor.bound == "compute" for floor in found),
    }


def speed(config: ConfigDict, mesh: Any, screen: Screen) -> Record:
    """Measures a forward pass and a step of training; images a second."""
    from cnn_arch.analysis import measure
    from cnn_arch.training import step

    model = step.build_model(config, config.data.num_classes or 1000)
    with screen.timed("compile", "forward pass and training step"):
        runs = measure.prepare(config, model, mesh)
    return {
        name: measure.measure(run, config.batch_size)._asdict()
        for name, run in zip(("forward", "training_step"), runs, strict=True)
    }


def everything(
    form: str,
    record: Record,
    rows: Sequence[LayerCost],
    floors: Sequence[Floor] | None,
    screen: Screen,
) -> None:
    """Prints all that was counted, in one of ``table.FORMATS``, or as a ``line``."""
    if form == "line":
        total = record["totals"]
        screen.row(
            f"{record['model']}: {total['params']:,} parameters, "
            f"{total['macs']:,} MACs, {_mib(total['activation_bytes'])}",
            last=True,
        )
        return
    if form == "json":
        layers = [{key: getattr(row, key) for key in IN_JSON} for row in rows]
        for layer, floor in zip(layers, floors or (), strict=bool(floors)):
            layer |= {"floor_seconds": floor.seconds, "bound": floor.bound}
        print(json.dumps({**record, "layers": layers}, indent=2))
        return
    if form == "csv":
        extra: dict[str, list[Any]] = {}
        if floors:
            extra["floor_seconds"] = [floor.seconds for floor in floors]
            extra["bound"] = [floor.bound for floor in floors]
        print(table.to_csv(rows, extra), end="")
        return
    printed = table.columns(rows)
    if floors:
        printed["floor us"] = [f"{1e6 * floor.seconds:,.1f}" for floor in floors]
        printed["bound by"] = [floor.bound for floor in floors]
    if form == "markdown":
        print(table.to_markdown(printed), end="")
        return
    left_out = table.print_table(printed)
    screen.row()
    _totals(record["totals"], screen)
    if left_out:
        screen.say("lacks", f"{', '.join(left_out)} (in csv)")
    if "training" in record:
        _training(record["training"], screen)
    if "roofline" in record:
        _roofline(record["roofline"], screen)
    if "measured" in record:
        _measured(record["measured"], record["roofline"], screen)


def _totals(total: Record, screen: Screen) -> None:
    params, biases = total["params"], total["params"] - total["params_without_biases"]
    screen.say(
        "params",
        f"{params:,}, of them {biases:,} biases; {_mib(4 * params)} in float32",
    )
    screen.say("MACs", f"{total['macs']:,}; FLOPs = 2 x MACs = {total['flops']:,}")
    screen.say(
        "other",
        f"{total['other_operations']:,} operations besides; BatchNorm "
        f"{total['batch_norm_operations']:,}",
    )
    for label, what, text in (
        ("memory", "conv_output", "convolutions' outputs (EECS 498)"),
        ("", "activation", "with input, pools, dense layers (CS231n)"),
    ):
        elements, size = total[f"{what}_elements"], total[f"{what}_bytes"]
        screen.say(label, f"{_mib(size)}, {elements:,} numbers: {text}")
    reported, expected = total["xla_flops"], total["xla_flops_expected"]
    if reported == UNAVAILABLE:
        screen.say("XLA", f"{UNAVAILABLE}; by its rules {expected:,} flops")
    else:
        agrees = "as" if reported == expected else f"not {expected:,}, as"
        screen.say("XLA", f"{reported:,} flops, {agrees} counted here by its rules:")
        screen.say(
            "",
            f"2 x (MACs - {total['padding_macs']:,} on padding) + other "
            f"- {total['transcendentals']:,} exp, pow",
        )
        if rounding := expected - total["xla_flops_exact"]:
            screen.say("", f"({rounding:+,}: XLA adds up in float32, and rounds)")
    if total["auxiliary_params"]:
        screen.say(
            "heads",
            f"auxiliary, in training only: {total['auxiliary_params']:,} parameters, "
            f"{total['auxiliary_macs']:,} MACs",
        )


def _training(costs: Record, screen: Screen) -> None:
    flops = (f"{part} {costs[f'{part}_flops']:,}" for part in ("forward", "backward"))
    screen.say("training", f"{', '.join(flops)} FLOPs, batch {costs['batch']}")
    screen.say("", f"update {costs['update_flops']:,} FLOPs, whatever the batch")
    parts = ("parameter", "gradient", "optimizer", "image", "activation")
    sizes = [f"{part}s {_mib(costs[f'{part}_bytes'])}" for part in parts]
    screen.say("keeps", ", ".join(sizes[:3]).replace("optimizers", "momentum"))
    screen.say("", f"{', '.join(sizes[3:])}: in all {_mib(costs['total_bytes'])}")
    if "xla_argument_bytes" in costs:
        screen.say(
            "XLA",
            f"state and batch {_mib(costs['xla_argument_bytes'])}, besides "
            f"{_mib(costs['xla_temporary_bytes'])}",
        )
    if "memory_bytes" in costs:
        screen.say(
            "holds",
            f"{_mib(costs['memory_bytes'])}: a batch of {costs['largest_batch']:,}, or "
            f"of {costs['largest_batch_with_gradients']:,} where activations'",
        )
        screen.say("", "gradients stay beside them, as in programs of AlexNet's time")


def _roofline(whole: Record, screen: Screen) -> None:
    screen.say("roofline", whole["device"])
    screen.say("", f"source: {whole['source']}")
    screen.say(
        "",
        f"{whole['peak_flops'] / 1e12:,.3g} TFLOP/s, "
        f"{whole['bandwidth_bytes'] / 1e9:,.4g} GB/s",
    )
    screen.say(
        "",
        f"forward pass: at least {1e3 * whole['seconds']:,.3f} ms, at most "
        f"{whole['images_per_second']:,.0f} images/s",
    )
    screen.say(
        "",
        f"{whole['memory_bound_layers']} layers wait for memory, "
        f"{whole['compute_bound_layers']} for arithmetic",
    )


def _measured(found: Record, whole: Record, screen: Screen) -> None:
    for label, name, text, most in (
        ("measured", "forward", "forward", whole["images_per_second"]),
        ("", "training_step", "step", whole["step_images_per_second"]),
    ):
        speed = found[name]
        screen.say(
            label,
            f"{text:<8}{speed['median']:,.1f} images/s ({speed['slowest']:,.1f} to "
            f"{speed['fastest']:,.1f}), {speed['median'] / most:.1%} of {most:,.0f}",
        )


def _mib(size: int | str) -> str:
    return size if isinstance(size, str) else f"{size / 2**20:,.2f} MiB"
