"""What all parts share: the pictures, the undisturbed run, a repeated command."""

import os
import shlex
import shutil
import signal
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from tests.campaign import launch
from tests.campaign.launch import Ended, Plan
from tests.campaign.oracle import Oracle
from tests.campaign.table import Trial

CLASSES = "blue", "green", "red"
NUM_EPOCHS = 4


@dataclass(frozen=True)
class Part:
    """One kind of disturbance."""

    name: str
    meaning: str  # in the table of the page
    sizes: tuple[int, int, int]  # trials of --short, of the default and of --long
    # Makes the trials of these numbers; a fault does not stop it.
    run: Callable[["Lab", Sequence[int]], Iterator[Trial]]
    # Returns why it cannot run here; "" if it can.
    obstacle: Callable[["Lab"], str] = lambda lab: ""
    # Returns the number of trials of --long, where only a run shows it.
    count: Callable[["Lab"], int] | None = None


class Lab:
    """A folder with the pictures, the runs and the output of commands."""

    def __init__(self, folder: Path, seed: int):
        """Makes the pictures and starts the server of processes."""
        self.folder, self.seed = folder, seed
        folder.mkdir(parents=True, exist_ok=True)
        self.shim = launch.build_shim(folder)
        self.photos = make_photos(folder / "photos")
        launch.prepare(self.shim, folder / "cache")

    def generator(self, part: str, number: int) -> np.random.Generator:
        """Returns the source of chance of one trial."""
        return np.random.default_rng([self.seed, zlib.crc32(part.encode()), number])

    def words(self, workdir: Path, *more: str) -> list[str]:
        """Returns the words of train.py for the run that is disturbed."""
        return [
            "--config=configs/lenet5.py:folder",
            f"--config.data.dir={self.photos}",
            "--config.batch_size=8",
            f"--config.epochs={NUM_EPOCHS}",
            "--config.optim.learning_rate=0.5",  # so high that the errors rise and fall
            "--config.optim.schedule=constant",
            "--config.data.validation_fraction=0.25",
            "--config.seed=1",
            f"--workdir={workdir}",
            *more,
        ]

    @cached_property
    def oracle(self) -> Oracle:
        """The undisturbed run, by a cold command; made once."""
        workdir = self.folder / "reference"
        if not (workdir / "report.html").exists():
            shutil.rmtree(workdir, ignore_errors=True)
            launch.run_cold("train.py", *self.words(workdir))
        return Oracle(workdir)

    @cached_property
    def seconds(self) -> float:
        """How long an undisturbed command runs, from a warm start."""
        self.oracle  # noqa: B018 - fills the cache of compiled programs
        start = time.monotonic()
        ended = self.train(self.fresh("timed"))
        assert ended.status == 0, ended.err
        return time.monotonic() - start

    @cached_property
    def half_done(self) -> Path:
        """A run that ended in its last epoch but one, saved and stopped by a signal."""
        workdir = self.fresh("half-done")
        output = self.folder / "output" / "half-done"
        words = self.words(workdir, "--config.checkpoint.every_minutes=0.00001")
        command = launch.Command("train.py", *words, output=output)
        wait_for_rows(workdir / "metrics.csv", NUM_EPOCHS - 2, command)
        command.signal(signal.SIGTERM)
        ended = command.end()
        assert ended.status == 0 and "saved" in ended.out, ended.out + ended.err
        return workdir

    def fresh(self, name: str) -> Path:
        """Returns a path that does not exist."""
        path = self.folder / "runs" / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    def copy(self, source: Path, name: str) -> Path:
        """Copies a run."""
        path = self.fresh(name)
        shutil.copytree(source, path, symlinks=True)
        return path

    def train(self, workdir: Path, *more: str, plan: Plan | None = None) -> Ended:
        """Runs train.py to its end."""
        output = self.folder / "output" / workdir.name
        return launch.run(
            "train.py", *self.words(workdir, *more), output=output, plan=plan
        )

    def finish(self, workdir: Path) -> str:
        """Repeats the command; returns what is wrong with it or with its result."""
        ended = self.train(workdir)
        fault = ended.fault()
        if not fault and ended.status:
            fault = f"lost: cannot continue: {ended.errors[0]}"
        return fault or self.oracle.check(workdir)


def wait_for_rows(path: Path, num_rows: int, command: launch.Command) -> None:
    """Waits until a table of a running command has so many rows."""
    while not path.exists() or path.read_bytes().count(b"\n") <= num_rows:
        assert command.process.exitcode is None, command.end().err
        time.sleep(0.005)


@dataclass(frozen=True)
class Call:
    """A file-system call of a command."""

    number: int
    name: str
    path: str
    second: str  # of a rename or a link: the other name

    def describe(self, workdir: Path) -> str:
        """Returns the call in short."""
        return f"{self.name} {os.path.relpath(self.path, workdir)}"


def read_log(path: Path) -> list[Call]:
    """Reads the lines of shim.c, in the order of the calls."""
    calls = []
    for line in path.read_text(errors="replace").splitlines():
        number, name, where, second = line.split("\t")
        calls.append(Call(int(number), name, where, second))
    return sorted(calls, key=lambda call: call.number)


def shown(ended: Ended) -> str:
    """Returns a command to paste."""
    return shlex.join(["python", *ended.words])


def make_photos(folder: Path) -> Path:
    """Makes pictures of three classes that differ in their colour."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 3)):
        for channel, name in enumerate(CLASSES):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                pixels = generator.integers(0, 120, (36, 40, 3)).astype(np.uint8)
                pixels[..., channel] += 120
                Image.fromarray(pixels).save(folder / split / name / f"{i}.png")
    return folder
