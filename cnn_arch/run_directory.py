"""The directory of a run: who may write to it, and its files of plain text."""

import csv
import dataclasses
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from cnn_arch import installation, settings
from cnn_arch.errors import UsageError
from cnn_arch.files import write_csv, write_text
from cnn_arch.screen import Screen

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "grain")

# Settings that may change when a run goes on: the result does not depend on them, but
# for the order of sums. (Dropout's masks, too, are the same on any mesh.)
FREE = ("mesh.data", "mesh.model", "data.num_threads", "checkpoint.every_minutes")


@dataclasses.dataclass(frozen=True)
class Run:
    """Where a run leaves its files, and where it says what it does."""

    workdir: Path
    screen: Screen


def choose(workdir: str | None, config: ConfigDict, prefix: str = "") -> Path:
    """Returns the directory given, or the next free ``runs/[PREFIX]MODEL-DATA-N``."""
    if workdir:
        return Path(workdir)
    stem = f"{prefix}{config.model.name}-{config.data.name or config.data.source}"
    taken = [
        int(path.name.rpartition("-")[2])
        for path in Path("runs").glob(f"{stem}-*")
        if path.name.rpartition("-")[2].isdigit()
    ]
    return Path("runs", f"{stem}-{max(taken, default=0) + 1}")


def read_config(workdir: Path) -> FrozenConfigDict:
    """Returns the config of a run.

    Raises:
      UsageError: there is no run.
    """
    path = workdir / "config.json"
    if not path.is_file():
        raise UsageError(f"--workdir={workdir}: no run there; train.py makes one")
    return settings.from_json(path)


def find_trained(
    words: Sequence[str], workdir: str | None, weights: str | None, data: str | None
) -> tuple[FrozenConfigDict, Path]:
    """Returns the config of a trained network, and a directory for results.

    Args:
      words: with ``weights``, ``--config`` and its settings; with a run, nothing, or
        the ``--config`` that registers the run's network.
      workdir: of the run; with ``weights`` any, or the next free one.
      weights: a file; None: the network is a run's.
      data: the folder of the data, if it is not the config's.

    Raises:
      UsageError: neither a run nor a recipe with weights is given.
    """
    if weights:
        config, _ = settings.parse(words)
        path = choose(workdir, config, prefix="eval-")
        check_same_run(path, config)
    elif workdir:
        path = Path(workdir)
        config = read_config(path)
        _check_recipe(words, config, path)
    elif words:
        hint = "needs --weights=FILE" if "--config" in words[0] else "no such option"
        raise UsageError(f"{words[0]}: {hint}; see --help")
    else:
        raise UsageError("--workdir: must be given, or --config and --weights")
    # Any mesh evaluates what any other trained; layers are looked at whole.
    changes: dict[str, Any] = {"mesh.data": 0, "mesh.model": 1}
    changes |= {"data.dir": data} if data else {}
    return settings.derive(config, changes), path


def _check_recipe(words: Sequence[str], config: ConfigDict, path: Path) -> None:
    """Reads the recipe beside a run, if there is one: it may register a network."""
    if not words:
        return
    recipe, changed = settings.parse(words)
    for key in changed:
        raise UsageError(
            f"--config.{key}: the run in {path} keeps its own settings; leave it out"
        )
    if recipe.model.name != config.model.name:
        raise UsageError(
            f"{words[0]}: is a recipe of {recipe.model.name}, and {path} holds a run "
            f"of {config.model.name}; leave it out"
        )


def check_same_run(path: Path, config: ConfigDict) -> None:
    """Checks that a directory is empty or holds a run with this config.

    Raises:
      UsageError: it holds another run, or files that are not of a run.
    """
    stored_path = path / "config.json"
    if not stored_path.exists():
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            raise UsageError(
                f"--workdir={path}: holds files that are not of a run; choose another"
            )
        return
    stored = settings.flatten(settings.from_json(stored_path))
    given = settings.flatten(json.loads(settings.to_json(config)))
    if stored["model.name"] != given["model.name"]:
        raise UsageError(
            f"--workdir={path}: holds a {stored['model.name']} run, this is "
            f"{given['model.name']}; choose another --workdir"
        )
    for key in sorted(stored.keys() | given.keys()):
        if key not in FREE and stored.get(key) != given.get(key):
            raise UsageError(
                f"--workdir={path}: holds a run with {key}={stored.get(key)}, this has "
                f"{given.get(key)}; choose another --workdir"
            )


def check_same_data(path: Path, fingerprint: str) -> None:
    """Checks that the data is what it was when the run began, and remembers it.

    Raises:
      UsageError: it has changed.
    """
    record = path / "data_fingerprint.txt"
    if not record.exists():
        write_text(record, fingerprint + "\n")
    elif record.read_text().strip() != fingerprint:
        raise UsageError(
            f"--workdir={path}: the data has changed since this run began; put it "
            "back, or choose another --workdir"
        )


def create(
    path: Path,
    config: ConfigDict,
    class_names: Sequence[str],
    split_rows: Sequence[Sequence[str]],
) -> None:
    """Makes the directory and writes what is known before the first step.

    Args:
      path: of the directory.
      config: of the run.
      class_names: in the order of the network's outputs.
      split_rows: split, class and file of each image of a user's own folder.
    """
    path.mkdir(parents=True, exist_ok=True)
    write_text(path / "config.json", settings.to_json(config))
    write_text(path / "classes.txt", "\n".join(class_names) + "\n")
    if split_rows:
        write_csv(path / "split.csv", [("split", "class", "file"), *split_rows])
    lines = [
        f"command  {installation.own_command()}",
        f"python   {platform.python_version()} on {platform.platform()}",
        f"commit   {_git_commit()}",
        *(f"package  {name} {metadata.version(name)}" for name in PACKAGES),
    ]
    for name in ("JAX_PLATFORMS", "XLA_FLAGS", "CUDA_VISIBLE_DEVICES"):
        if name in os.environ:
            lines.append(f"setting  {name}={os.environ[name]}")
    write_text(path / "environment.txt", "\n".join(lines) + "\n")


def resume_command(workdir: Path) -> str:
    """Returns the command that runs, with the run's directory, to be pasted."""
    is_given = any(word.startswith("--workdir") for word in sys.argv)
    return installation.own_command(*() if is_given else [f"--workdir={workdir}"])


def describe_recipe(config: ConfigDict) -> str:
    """Writes the recipe in one line."""
    optim = config.optim
    decay = f", L2 {optim.weight_decay:g}" if optim.weight_decay else ""
    return (
        f"{config.epochs:g} epochs, batch {config.batch_size}, sgd momentum "
        f"{optim.momentum:g}, lr {optim.learning_rate:g} {optim.schedule}{decay}, "
        f"seed {config.seed}"
    )


def best_epoch(path: Path) -> tuple[str, float]:
    """Returns the epoch of least validation error, the last of equals, and its %."""
    with (path / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    best = min(reversed(rows), key=lambda row: float(row["validation_top1_error"]))
    return f"{float(best['epoch']):g}", 100 - float(best["validation_top1_error"])


def _git_commit() -> str:
    words = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        folder = Path(__file__).parent
        answer = subprocess.run(words, capture_output=True, text=True, cwd=folder)
    except OSError:
        return "unknown"
    return answer.stdout.strip() or "unknown"


class Table:
    """A CSV file to which a run adds rows, cut back when the run goes on from before.

    Numbers are written so that reading them gives the same number.
    """

    def __init__(
        self,
        path: Path,
        columns: Sequence[str],
        keep: Callable[[Mapping[str, str]], bool],
    ):
        """Opens the file and keeps the rows that lie before the checkpoint.

        Args:
          path: of the file, made if it is not there.
          columns: the header.
          keep: says of a complete row whether it stays.
        """
        self.columns = columns
        self.rows: list[dict[str, Any]] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                complete = [row for row in csv.DictReader(file) if all(row.values())]
            self.rows = [row for row in complete if keep(row)]
        lines = [self.columns, *([row[c] for c in columns] for row in self.rows)]
        write_csv(path, lines)
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, lineterminator="\n")

    def add(self, **values: Any) -> None:
        """Adds a row, a value for each column."""
        self.rows.append(values)
        self._writer.writerow([values[column] for column in self.columns])

    def sync(self) -> None:
        """Has the rows so far on disk, before a checkpoint that follows them."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Ends writing."""
        self._file.close()
