"""What a finished run must be: bit for bit the run that nobody disturbed."""

import csv
import hashlib
import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

# They differ each time; names of columns, and of TensorBoard's values.
MEASURED = ("images_per_second", "seconds", "input_wait_seconds")
ITEMS = ("params", "batch_stats", "opt_state")


@dataclass
class Oracle:
    """Knows the undisturbed run, and the state of each step that any run has saved."""

    reference: Path
    _states: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reads the undisturbed run."""
        self._wanted = read_run(self.reference)
        assert not self.check_steps(self.reference)

    def check(self, workdir: Path) -> str:
        """Returns how a finished run differs from the undisturbed one; "" if nowhere.

        Its checkpoints are checked too.
        """
        try:
            found = read_run(workdir)
        except Exception as error:
            return f"unreadable result: {_say(error)}"
        for what, wanted in self._wanted.items():
            if found[what] != wanted:
                return f"differs: {what}: {first_difference(wanted, found[what])}"
        missing = set(files_of(self.reference)) - set(files_of(workdir))
        if missing:
            return f"differs: {', '.join(sorted(missing)[:3])} missing"
        return self.check_steps(workdir) or check_links(self.reference, workdir)

    def check_steps(self, workdir: Path) -> str:
        """Returns what is wrong with the listed checkpoints; "" if nothing is.

        A folder whose name is a number is listed: it must be readable, and a step must
        have the same bits in all runs.
        """
        for folder in listed(workdir):
            try:
                digest = state_digest(folder)
            except Exception as error:
                return f"listed but unreadable: {folder.name}: {_say(error)}"
            known = self._states.setdefault(int(folder.name), digest)
            if known != digest:
                return f"differs: checkpoint {folder.name} has other bits"
        return ""


def listed(workdir: Path) -> list[Path]:
    """Returns the folders of steps, the oldest first."""
    folders = (workdir / "checkpoints").glob("[0-9]*")
    return sorted((f for f in folders if f.name.isdigit()), key=lambda f: int(f.name))


def state_digest(folder: Path) -> str:
    """Returns a digest of all arrays of a checkpoint, read by orbax alone."""
    import jax
    from orbax.checkpoint import v1 as ocp

    items = [name for name in ITEMS if (folder / name).is_dir()]
    if not {"params", "opt_state"} <= set(items):
        raise ValueError(f"only {sorted(items)} there")
    # On one device, whatever the devices that saved it.
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    described: Any = ocp.checkpointables_metadata(str(folder)).metadata
    shapes = {
        name: jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=sharding
            ),
            described[name],
        )
        for name in items
    }
    trees = ocp.load_checkpointables(str(folder), shapes)
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(trees):
        digest.update(jax.tree_util.keystr(path).encode() + np.asarray(leaf).tobytes())
    return digest.hexdigest()


def check_links(reference: Path, workdir: Path) -> str:
    """Returns which link leads elsewhere than in the undisturbed run, or a leftover."""
    folder = workdir / "checkpoints"
    for name in ("last", "best"):
        wanted = (reference / "checkpoints" / name).readlink()
        there = folder / name
        found = there.readlink() if there.is_symlink() else None
        if found != wanted:
            return f"differs: link {name} -> {found}, should be {wanted}"
    expected = {path.name for path in (reference / "checkpoints").iterdir()}
    for path in folder.iterdir():
        if path.name not in expected and not path.name.isdigit():
            return f"left over: checkpoints/{path.name}"
    return ""


def files_of(workdir: Path) -> list[str]:
    """Returns the files of a run, without checkpoints and events."""
    return [
        name
        for path in workdir.rglob("*")
        if not (name := str(path.relative_to(workdir))).startswith("checkpoints/")
        and not path.name.startswith("events.")
        and not path.is_dir()
    ]


def read_run(workdir: Path) -> dict[str, Any]:
    """Returns what must be equal in two runs, by name."""
    with np.load(workdir / "weights_best.npz") as file:
        weights = {
            name: hashlib.sha256(file[name].tobytes()).hexdigest()
            for name in file.files
        }
    results = json.loads((workdir / "eval" / "results.json").read_text())
    return {
        "weights_best.npz": weights,
        "steps.csv": read_table(workdir / "steps.csv"),
        "metrics.csv": read_table(workdir / "metrics.csv"),
        "predictions_test.csv": read_table(workdir / "eval" / "predictions_test.csv"),
        "results.json": results,
        "TensorBoard's events": read_events(workdir),
        "split.csv": read_table(workdir / "split.csv"),
    }


def read_table(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a CSV file without the columns of measurements."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {key: value for key, value in row.items() if key not in MEASURED}
            for row in csv.DictReader(file)
        ]


def read_events(workdir: Path) -> list[tuple[int, str, float]]:
    """Returns step, name and value of each point that TensorBoard shows, in order.

    TensorBoard reads the files in the order of their names, and drops what a restart
    says it will repeat.
    """
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    shown: list[tuple[int, str, float]] = []
    for path in sorted(workdir.glob("events.out.tfevents*")):
        content, at = path.read_bytes(), 0
        while at + 12 <= len(content):
            (size,) = struct.unpack_from("<Q", content, at)
            if at + size + 16 > len(content):
                break  # TensorBoard, too, waits for the rest of a record
            event = Event.FromString(content[at + 12 : at + 12 + size])
            at += size + 16
            if event.session_log.status == SessionLog.START:
                shown = [point for point in shown if point[0] < event.step]
            for value in event.summary.value:
                if value.tag.rpartition("/")[2] not in MEASURED:
                    shown.append((event.step, value.tag, value.simple_value))
    return sorted(shown)


def first_difference(wanted: Any, found: Any) -> str:
    """Returns the first place in which two values differ."""
    if isinstance(wanted, list) and isinstance(found, list):
        for row, other in zip(wanted, found, strict=False):
            if row != other:
                return f"{other} instead of {row}"[:160]
        return f"{len(found)} entries instead of {len(wanted)}"
    if isinstance(wanted, dict) and isinstance(found, dict):
        names = [key for key in wanted if wanted[key] != found.get(key)]
        names += [key for key in found if key not in wanted]
        return ", ".join(names[:3])
    return f"{found!r} instead of {wanted!r}"[:160]


def _say(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
