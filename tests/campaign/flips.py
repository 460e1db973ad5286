"""A flipped bit in each file of a run: noticed by name, or without any effect."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tests.campaign import launch
from tests.campaign.lab import Lab, Part, shown
from tests.campaign.oracle import first_difference, read_table
from tests.campaign.table import Trial

# Written for people only, or never read again by the project's commands: the points of
# curves, of which TensorBoard checks checksums, and orbax's notes of devices.
FOR_READERS = "README.md", "report.html", "log.txt", "environment.txt", "plots/"
NOT_READ = "events.out", "_sharding"


def run(lab: Lab, numbers: Sequence[int]) -> Iterator[Trial]:
    """Flips a bit, then continues a half-done run, or evaluates a finished one."""
    for number in numbers:
        generator = lab.generator("flips", number)
        continues = number % 2 == 0
        source = lab.half_done if continues else lab.oracle.reference
        workdir = lab.copy(source, "flips")
        files = [
            path
            for path in sorted(workdir.rglob("*"))
            if path.is_file()
            and not path.is_symlink()
            and path.stat().st_size
            and not str(path.relative_to(workdir)).startswith(FOR_READERS)
            and not path.name.startswith(NOT_READ)
        ]
        path = files[number // 2 % len(files)]
        case = f"{path.relative_to(workdir)} {flip(path, generator)}"
        fault, command = (_continue if continues else _evaluate)(lab, workdir)
        what = "train.py" if continues else "eval.py"
        yield Trial(number, f"{what} after {case}", fault, command if fault else "")


def flip(path: Path, generator: np.random.Generator) -> str:
    """Flips a bit anywhere in a file; returns its place."""
    content = bytearray(path.read_bytes())
    place, bit = int(generator.integers(len(content))), int(generator.integers(8))
    content[place] ^= 1 << bit
    path.write_bytes(content)
    return f"byte {place} bit {bit}"


def _continue(lab: Lab, workdir: Path) -> tuple[str, str]:
    ended = lab.train(workdir)
    if ended.status or ended.fault():
        return ended.fault(), shown(ended)
    fault = lab.oracle.check(workdir)
    # The damaged step itself stays listed until it is too old, and was named.
    if "warning: checkpoint at step" in ended.err and fault.startswith("listed"):
        fault = ""
    for name in ("steps.csv", "metrics.csv"):
        if f"/{name}: up to step" in ended.err and fault.startswith(f"differs: {name}"):
            fault = ""
    return fault, shown(ended)


def _evaluate(lab: Lab, workdir: Path) -> tuple[str, str]:
    for name in ("results.json", "predictions_test.csv"):  # to be written anew
        if (workdir / "eval" / name).exists():
            (workdir / "eval" / name).unlink()
    words = "eval.py", f"--workdir={workdir}"
    ended = launch.run(*words, output=lab.folder / "output" / "flips")
    if ended.status or ended.fault():
        return ended.fault(), shown(ended)
    reference = lab.oracle.reference / "eval"
    wanted = json.loads((reference / "results.json").read_text())
    wanted = {"test": wanted["test"]}  # train.py also tests by the paper's protocol
    found = json.loads((workdir / "eval" / "results.json").read_text())
    if wanted != found:
        return f"differs: results: {first_difference(wanted, found)}", shown(ended)
    name = "predictions_test.csv"
    wanted, found = read_table(reference / name), read_table(workdir / "eval" / name)
    if wanted != found:
        return f"differs: {name}: {first_difference(wanted, found)}", shown(ended)
    return "", ""


PART = Part(
    "flips",
    "one flipped bit in any file that train.py or eval.py reads",
    (2, 60, 600),
    run,
)
