"""Prints the results of analyze.py: as a table, for other programs, or in one line."""

import dataclasses
import json
from typing import Any

from cnn_arch.analysis import table
from cnn_arch.analysis.answer import UNAVAILABLE, Answer, Record
from cnn_arch.screen import Screen


def show_answer(answer: Answer, form: str, screen: Screen) -> None:
    """Prints an answer in one of ``table.FORMATS``.

    A quiet screen gets one line for a table.
    """
    floors = answer.floors
    if form == "json":
        layers = [dataclasses.asdict(row) for row in answer.rows]
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
        printed["floor us"] = [f"{1e6 * each.seconds:,.1f}" for each in answer.floors]
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
        f"{total['other_operations']:,} operations; of them BatchNorm "
        f"{total['batch_norm_operations']:,}",
    )
    for label, name, text in (
        ("memory", "conv_output", "convolutions' outputs (EECS 498)"),
        ("", "activation", "with input, pools, dense layers (CS231n)"),
    ):
        elements, size = total[f"{name}_elements"], total[f"{name}_bytes"]
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
            screen.say("", f"({rounding:+,}: XLA adds in float32, which rounds)")
    if total["auxiliary_params"]:
        screen.say(
            "heads",
            f"auxiliary, in training only: {total['auxiliary_params']:,} parameters, "
            f"{total['auxiliary_macs']:,} MACs",
        )


def _training(costs: Record, screen: Screen) -> None:
    flops = (f"{part} {costs[f'{part}_flops']:,}" for part in ("forward", "backward"))
    divided = f" in {costs['accumulate']} parts" if costs["accumulate"] > 1 else ""
    screen.say("training", f"{', '.join(flops)} FLOPs, batch {costs['batch']}{divided}")
    screen.say("", f"update {costs['update_flops']:,} FLOPs for any batch")
    screen.say("memory", f"in training {_mib(costs['total_bytes'])}:")
    for parts in ("parameter", "gradient", "optimizer"), ("image", "activation"):
        sizes = [f"{part}s {_mib(costs[f'{part}_bytes'])}" for part in parts]
        screen.say("", ", ".join(sizes).replace("optimizers", "momentum"))
    if "xla_argument_bytes" in costs:
        screen.say(
            "XLA",
            f"state and batch {_mib(costs['xla_argument_bytes'])}, temporary "
            f"{_mib(costs['xla_temporary_bytes'])}",
        )
    if "memory_bytes" in costs:
        screen.say(
            "fits in",
            f"{_mib(costs['memory_bytes'])}: a batch of {costs['largest_batch']:,}, or "
            f"{costs['largest_batch_with_gradients']:,} if the gradients",
        )
        screen.say("", "of all activations are kept too, as in AlexNet's time")


def _roofline(whole: Record, screen: Screen) -> None:
    peak, rate = whole["peak_flops"] / 1e12, whole["bandwidth_bytes"] / 1e9
    ms, speed = 1e3 * whole["seconds"], whole["images_per_second"]
    memory, compute = whole["memory_bound_layers"], whole["compute_bound_layers"]
    screen.say("roofline", whole["device"])
    screen.say("", f"source: {whole['source']}")
    screen.say("", f"{peak:,.3g} TFLOP/s, {rate:,.4g} GB/s")
    screen.say(
        "", f"forward pass: at least {ms:,.3f} ms, at most {speed:,.0f} images/s"
    )
    screen.say("", f"{memory} layers wait for memory, {compute} for arithmetic")


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
