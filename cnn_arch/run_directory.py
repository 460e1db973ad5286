"""The directory of a run: which run may use it, and its text files."""

import csv
import dataclasses
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from cnn_arch import folders, installation, settings
from cnn_arch.errors import DivergedError, UsageError
from cnn_arch.files import read_json, write_csv, write_text
from cnn_arch.lock import Lock
from cnn_arch.same_run import check_same_run
from cnn_arch.screen import Screen

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "grain")

CLASSES = "classes.json"
DIVERGED = "diverged.json"
TIMES = "times.json"  # of analyze.py --measure --workdir


@dataclasses.dataclass(frozen=True)
class Run:
    """The places where a run writes files and prints lines."""

    workdir: Path
    screen: Screen
    lock: Lock | None = None  # None: this process does not write the run's files

    def at(self, workdir: str) -> "Run":
        """Returns the run in another directory."""
        return dataclasses.replace(self, workdir=Path(workdir))

    def check(self, *, now: bool = False) -> None:
        """Checks, not too often, that the directory is still there.

        Raises:
          RunError: it was moved or deleted.
        """
        if self.lock:
            self.lock.check(now=now)

    @contextmanager
    def noting_divergence(self, steps_per_epoch: int) -> Iterator[None]:
        """Writes diverged.json if training ends because the loss is not finite.

        A file of an earlier start is removed.
        """
        path = self.workdir / DIVERGED
        if self.lock:
            path.unlink(missing_ok=True)
        try:
            yield
        except DivergedError as error:
            if self.lock:
                found = {"reason": str(error), "steps_per_epoch": steps_per_epoch}
                write_text(path, json.dumps(found, indent=2) + "\n")
            raise


def open_run(
    workdir: str | None,
    config: ConfigDict,
    screen: Screen,
    cleanup: ExitStack | None,
    prefix: str = "",
) -> Run:
    """Makes and locks the directory of a run, until the end of the command.

    Args:
      workdir: the directory given; None: the next free one.
      config: of the run.
      screen: of the command.
      cleanup: ends the lock; None: this process writes no files, so it needs no lock.
      prefix: of the name of a new directory.

    Raises:
      UsageError: another command uses the directory, it has files that are not of a
        run, or it cannot be written.
    """
    path = folders.choose(workdir, config, prefix)
    folders.check_no_others(path)
    if not cleanup:
        return Run(path, screen)
    path = folders.make(workdir, config, cleanup, prefix)
    lock = Lock(path / folders.LOCK)
    cleanup.callback(lock.release)
    lock.take(screen.warn)
    return Run(path, screen, lock)


def find_trained(
    words: Sequence[str],
    given: Mapping[str, str],
    screen: Screen,
    cleanup: ExitStack | None,
) -> tuple[FrozenConfigDict, Run]:
    """Returns the config of a trained network, and the run to write results to.

    Args:
      words: with weights, ``--config`` and its settings; with a run, nothing, or the
        ``--config`` that registers the run's network.
      given: options: "weights" is a file, instead of which the network comes from a
        run; "workdir" is that run's, or with weights that of the results (default: the
        next free); "data_dir" replaces the config's.
      screen: of the command.
      cleanup: as in ``open_run``, for a directory of results.

    Raises:
      UsageError: there is no such run, or the options give neither a run nor a recipe
        with weights.
    """
    if "weights" in given:
        config, _ = settings.parse(words)
        run = open_run(given.get("workdir"), config, screen, cleanup, prefix="eval-")
        check_same_run(run.workdir, config)
    elif "workdir" in given:
        path = folders.check_path(Path(given["workdir"]))
        if not (path / "config.json").is_file():
            raise UsageError(f"--workdir={path}: no run there; train one first")
        config, run = settings.from_json(path / "config.json"), Run(path, screen)
        _check_recipe(words, config, path)
    elif words:
        hint = "needs --weights=FILE" if "--config" in words[0] else "no such option"
        raise UsageError(f"{words[0]}: {hint}; see --help")
    else:
        raise UsageError("--workdir: must be given, or --config and --weights")
    # Any mesh can evaluate a network; one process must see its layers whole.
    changes: dict[str, Any] = {"mesh.data": 0, "mesh.model": 1}
    # An evaluation leaves out what it cannot read, and says so.
    changes |= {"data.skip_broken": True}
    changes |= {"data.dir": given["data_dir"]} if "data_dir" in given else {}
    return settings.derive(config, changes), run


def _check_recipe(words: Sequence[str], config: ConfigDict, path: Path) -> None:
    """Reads the recipe given with a run, if any: it may register a network."""
    if not words:
        return
    recipe, changed = settings.parse(words)
    for key in changed:
        raise UsageError(
            f"--config.{key}: the run in {path} keeps its own settings; leave it out"
        )
    if recipe.model.name != config.model.name:
        raise UsageError(
            f"{words[0]}: is a recipe of {recipe.model.name}, but the run in {path} is "
            f"of {config.model.name}; leave it out"
        )


def create(
    path: Path,
    config: ConfigDict,
    class_names: Sequence[str],
    split_rows: Sequence[Sequence[str]],
) -> None:
    """Makes the directory, and writes the files that come before the first step.

    ``class_names`` are in the order of the network's outputs; ``split_rows`` has split,
    class and file of each image of a user's folder.
    """
    path.mkdir(parents=True, exist_ok=True)
    write_text(path / "config.json", settings.to_json(config))
    # JSON, as a folder's name may have line breaks and bytes that are not UTF-8.
    names = json.dumps(list(class_names), indent=2, ensure_ascii=False)
    write_text(path / CLASSES, names + "\n")
    write_split(path, split_rows)
    write_environment(path)


def write_environment(path: Path) -> None:
    """Writes environment.txt: the command, the commit and the packages."""
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


def write_split(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Writes split.csv, if the run has a folder of images."""
    if rows:
        write_csv(path / "split.csv", [("split", "class", "file"), *rows])


def read_classes(path: Path) -> tuple[str, ...]:
    """Returns the names of a run's classes, in the order of the network's outputs.

    Raises:
      UsageError: the file is missing or damaged.
    """
    file = path / CLASSES
    if not file.exists() and (path / "classes.txt").is_file():  # of version 0.1
        text = (path / "classes.txt").read_bytes().decode(errors="replace")
        return tuple(text.removesuffix("\n").split("\n"))
    try:
        names = read_json(file)
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: not readable ({error}); put it back") from None
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise UsageError(f"{file}: must be a list of names; put it back")
    return tuple(names)


def read_divergence(path: Path) -> dict[str, Any] | None:
    """Returns ``reason`` and ``steps_per_epoch`` of a run that diverged, or None."""
    file = path / DIVERGED
    return read_json(file) if file.exists() else None


def read_times(path: Path) -> dict[str, Any] | None:
    """Returns what times.json has; None: the folder has no measured times."""
    file = path / TIMES
    return read_json(file) if file.exists() else None


def resume_command(workdir: Path) -> str:
    """Returns a line to paste that continues the run."""
    is_given = any(word.startswith("--workdir") for word in sys.argv)
    return installation.own_command(*() if is_given else [f"--workdir={workdir}"])


def validation_errors(path: Path) -> dict[int, float] | None:
    """Returns the validation error in % after each epoch's last step.

    None: the run has no metrics.csv, or a row of it cannot be read.
    """
    try:
        with (path / "metrics.csv").open(newline="", encoding="utf-8") as file:
            return {
                int(row["step"]): float(row["validation_top1_error"])
                for row in csv.DictReader(file)
            }
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return None


def _git_commit() -> str:
    words = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        folder = Path(__file__).parent
        answer = subprocess.run(words, capture_output=True, text=True, cwd=folder)
    except OSError:
        return "unknown"
    return answer.stdout.strip() or "unknown"
