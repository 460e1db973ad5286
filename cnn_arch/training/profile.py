"""The time of each operation of a training step, by layer."""

import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import jax

from cnn_arch.data.loading import TrainBatches
from cnn_arch.files import make_folder, write_csv
from cnn_arch.parallel import processes
from cnn_arch.parallel.mesh import put_batch
from cnn_arch.screen import Screen
from cnn_arch.training.program import Program

NUM_WARM_UPS, NUM_STEPS = 2, 3
NUM_SHOWN = 10
OUTSIDE = "(loss, update, input)"  # operations outside the layers

# Parts of an operation's path that are not names of layers.
_WRAPPER = re.compile(
    r"while|body|closed_call|cond|branch_\w+|checkpoint|rematted_computation|.*\(.*"
)
_NAMED = re.compile(r'^\s*(?:ROOT )?%?([\w.-]+) = .*op_name="([^"]*)"', re.MULTILINE)
# Their time includes other operations, which have their own events.
_CONTAINER = re.compile(r"(while|call|conditional)([.-]|$)")


class Operation(NamedTuple):
    """A kind of operation in a layer."""

    layer: str  # the module's path, or OUTSIDE
    direction: str  # forward or backward; empty outside the layers
    name: str  # of the JAX primitive, such as conv_general_dilated


def profile(
    directory: str, program: Program, batches: TrainBatches, screen: Screen
) -> None:
    """Traces a few steps of a compiled program, and shows the slowest operations.

    Writes the trace and ``operations.csv`` to the directory.

    Raises:
      UsageError: the directory cannot be written, or there are several processes.
    """
    processes.check_alone(f"--profile={directory}")
    folder = Path(directory)
    make_folder(folder, f"--profile={folder}")
    known = set(folder.rglob("*.xplane.pb"))
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # it would slow down the steps
    state = program.initialise()
    with screen.progress("profile", NUM_WARM_UPS + NUM_STEPS) as progress:
        for number in range(NUM_WARM_UPS + NUM_STEPS):
            if number == NUM_WARM_UPS:
                jax.profiler.start_trace(folder, profiler_options=options)
            batch = put_batch(batches.batch(number), program.mesh)
            with jax.profiler.StepTraceAnnotation("train_step", step_num=number):
                state, metrics = program.train_step(state, batch)
                jax.block_until_ready(metrics)
            progress.advance("")
    jax.profiler.stop_trace()
    (trace,) = set(folder.rglob("*.xplane.pb")) - known
    seconds = seconds_by_operation(trace, program.train_step.as_text())
    rows: list[Any] = [("layer", "pass", "operation", "milliseconds_a_step")]
    for operation, spent in seconds.most_common():
        rows.append((*operation, round(1000 * spent, 4)))
    write_csv(folder / "operations.csv", rows)
    _show(seconds, screen)
    screen.say("wrote", f"{folder}/operations.csv  {trace}", last=True)
    screen.say("", "https://ui.perfetto.dev opens the .trace.json.gz next to it")


def operation_of(path: str) -> Operation:
    """Returns the operation with a path in the compiled program.

    Args:
      path: such as ``jit(step)/transpose(jvp(ResNet))/conv2_1/conv1/dot_general``.
    """
    *parts, name = path.split("/")
    if not any("jvp(" in part for part in parts):
        return Operation(OUTSIDE, "", name)
    layer = "/".join(part for part in parts if not _WRAPPER.fullmatch(part))
    is_backward = any(part.startswith("transpose(") for part in parts)
    direction = "backward" if is_backward else "forward"
    return Operation(layer or OUTSIDE, direction if layer else "", name)


def seconds_by_operation(trace: Path, program: str) -> Counter[Operation]:
    """Adds up the events of a trace, in seconds a step, over all cores or streams.

    Args:
      trace: an .xplane.pb file of ``NUM_STEPS`` steps.
      program: the compiled program's text.
    """
    paths = dict(_NAMED.findall(program))
    planes = list(jax.profiler.ProfileData.from_file(str(trace)).planes)
    on_device = [plane for plane in planes if (plane.name or "").startswith("/device:")]
    lines = [line for plane in on_device or planes for line in plane.lines]
    seconds: Counter[Operation] = Counter()
    with warnings.catch_warnings():  # JAX's type of statistics is deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        for event in (event for line in lines for event in line.events):
            operation = str(dict(event.stats).get("hlo_op", ""))
            if not operation or _CONTAINER.match(operation):
                continue
            name = operation.partition("__")[0]  # before a library's name
            key = operation_of(paths.get(name, name))
            seconds[key] += event.duration_ns / 1e9 / NUM_STEPS
    return seconds


def _show(seconds: Counter[Operation], screen: Screen) -> None:
    total, shown = seconds.total(), seconds.most_common(NUM_SHOWN)
    rest = total - sum(spent for _, spent in shown)
    screen.row()
    screen.row(f"{'layer':<24} {'pass':<9} {'operation':<24} {'ms a step':>9}  share")
    for operation, spent in [*shown, (Operation("all others", "", ""), rest)]:
        layer, direction, name = (field[:24] for field in operation)
        screen.row(
            f"{layer:<24} {direction:<9} {name:<24} {1000 * spent:>9.2f}  "
            f"{100 * spent / total:>4.1f}%"
        )
