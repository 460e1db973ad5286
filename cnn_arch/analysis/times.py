"""Forward passes with batches of several sizes: their times and energy, in a folder."""

import json
import time
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from cnn_arch import run_directory, settings
from cnn_arch.analysis import energy, measure
from cnn_arch.analysis.table import to_markdown
from cnn_arch.costs.layers import costs_of_config
from cnn_arch.costs.summary import totals
from cnn_arch.files import write_text
from cnn_arch.parallel.runtime import open_devices
from cnn_arch.screen import Screen
from cnn_arch.training.program import Program
from cnn_arch.units import number

BATCHES = 1, 4, 16, 64  # images, up to the config's batch size
UNAVAILABLE = "unavailable"


def write(config: ConfigDict, folder: Path, screen: Screen) -> None:
    """Measures a network and writes times.json and a page.

    The page is the last file, so the folder is complete if it has one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    screen.log_to(folder / "log.txt")
    run_directory.write_environment(folder)
    screen.say("network", f"{config.model.name}: forward passes, as in evaluation")
    start = time.monotonic()
    single = settings.derive(config, {"mesh.data": 1, "mesh.model": 1})
    mesh = open_devices(single, screen)
    size, channels = config.data.image_size, config.data.channels
    screen.say("data", f"noise, {size}x{size}x{channels}")
    one = costs_of_config(settings.derive(single, {"batch_size": 1}))
    batches: dict[str, Any] = {}
    for batch in BATCHES:
        if batch <= max(1, config.batch_size):
            smaller = settings.derive(single, {"batch_size": batch})
            batches[str(batch)] = _measure(smaller, mesh, screen)
    found = {
        "network": config.model.name,
        "image_size": size,
        "precision": config.precision,
        "totals": totals(one.rows),
        "batches": batches,
        "seconds": round(time.monotonic() - start, 1),
    }
    write_text(folder / run_directory.TIMES, json.dumps(found, indent=1) + "\n")
    write_text(folder / "README.md", _page(found))
    screen.say(
        "wrote", f"{folder / run_directory.TIMES}, {folder / 'README.md'}", last=True
    )


def _measure(config: ConfigDict, mesh: Any, screen: Screen) -> dict[str, Any]:
    """Returns the times of one size of batch; numbers are of an image.

    These are the median, the shortest and the longest time in ms, and joules and watts,
    which are None where the machine does not say.
    """
    batch = config.batch_size
    program = Program(config, config.data.num_classes or 1000, mesh)
    with screen.timed("compile", f"forward pass of {batch}"):
        variables = program.initialise().variables
        run = measure.prepare_forward(program, variables, measure.random_batch(program))
    with energy.metered(mesh.devices.flat[0].platform) as used:
        speed = measure.measure(run, batch)
    images = batch * (speed.runs + 1)  # one warms up
    found = {
        "milliseconds": 1000 / speed.median,
        "shortest": 1000 / speed.fastest,
        "longest": 1000 / speed.slowest,
        "images_per_second": speed.median,
        "runs": speed.runs,
        "joules": None if used.joules is None else used.joules / images,
        "watts": None if used.joules is None else used.joules / used.seconds,
    }
    spread = f"{number(found['shortest'])} to {number(found['longest'])}"
    screen.say("", f"{number(found['milliseconds'])} ms an image ({spread})")
    return found


def _page(found: dict[str, Any]) -> str:
    """Returns the page of a network's times."""
    keys = "milliseconds", "shortest", "longest", "images_per_second", "joules", "watts"
    rows = found["batches"].values()
    cells = {
        key.replace("_", " "): [
            UNAVAILABLE if row[key] is None else number(row[key]) for row in rows
        ]
        for key in keys
    }
    size = found["image_size"]
    text = (
        f"Forward passes on noise of {size}x{size} px, {found['precision']}: the "
        "milliseconds (median, shortest, longest) and the joules of an image, by the "
        "number of images in a batch."
    )
    table = to_markdown({"batch": list(found["batches"]), **cells})
    return f"# {found['network']}: the time of an image\n\n{text}\n\n{table}"
