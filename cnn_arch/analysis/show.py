"""Prints what analyze.py counts: as a table, for other programs, or in one line."""

import json
from typing import Any

from cnn_arch.analysis import table
from cnn_arch.analysis.answer import UNAVAILABLE, Answer, Record
from cnn_arch.screen import Screen

IN_JSON = (
    "name",
    "kind",
    "output_shape",
    "params",
    "biases",
    "macs",
    "padding_macs",
    "other_operations",
    "transcendentals",
    "xla_flops",
    "output_elements",
    "output_bytes",
    "receptive_field",
    "receptive_stride",
    "receptive_offset",
    "receptive_field_hw",
    "inputs",
    "auxiliary",
)


def show_answer(answer: Answer, form: str, screen: Screen) -> None:
    """Prints an answer.

    Args:
      answer: what was counted.
      form: one of ``table.FORMATS``; a quiet screen has one line for a table.
      screen: the lines around the table go there.
    """
    floors = answer.floors or []
    if form == "json":
        layers = [{key: getattr(row, key) for key in IN_JSON} for row in answer.rows]
        for layer, floor in zip(layers, floors, strict=bool(floors)):
            layer |= {"floor_seconds": floor.seconds, "bound": floor.bound}
        print(json.dumps({**answer.record, "layers": layers}, indent=2))
    elif form == "csv":
        extra: dict[str, list[Any]] = {}
        if floors:
            extra["floor_seconds"] = [floor.seconds for floor in floors]
            extra["bound"] = [floor.bound for floor in floors]
        print(table.to_csv(answer.rows, extra), end="")
    elif form == "markdown":
        print(table.to_markdown(_columns(answer)), end="")
    elif screen.is_quiet:
        total = answer.record["totals"]
        screen.row(
            f"{answer.record['model']}: {total['params']:,} parameters, "
            f"{total['macs']:,} MACs, {_mib(total['activation_bytes'])}",
            last=True,
        )
    else:
        left_out = table.print_table(_columns(answer))
        screen.row()
        _show_record(answer.record, left_out, screen)


def _columns(answer: Answer) -> dict[str, list[str]]:
    printed = table.columns(answer.rows)
    if answer.floors:
        seconds = [floor.seconds for floor in answer.floors]
        printed["floor us"] = [f"{1e6 * each:,.1f}" for each in seconds]
        printed["bound by"] = [floor.bound for floor in answer.floors]
    return printed


def _show_record(record: Record, left_out: list[str], screen: Screen) -> None:
    _totals(record["totals"], screen)
    if left_out:
        screen.say("hidden", f"{', '.join(left_out)}: columns of --format=csv")
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
