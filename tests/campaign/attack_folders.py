"""Attack files among the training data, and odd paths, for train.py."""

import gzip
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

from tests.campaign.attack_files import attack, png
from tests.campaign.lab import Lab


def data(name: str, change: Callable[[Path], None], may_succeed: bool = False) -> None:
    """Adds a folder of training images with something in it."""

    @attack(f"data: {name}", may_succeed=may_succeed)
    def make(lab: Lab, folder: Path) -> list[str]:
        photos = folder / "photos"
        shutil.copytree(lab.photos, photos)
        change(photos / "train" / "red")
        words = lab.words(folder / "run", "--config.epochs=1")
        return ["train.py", *words, f"--config.data.dir={photos}"]


def path(name: str, *words: str) -> None:
    """Adds a command with an odd path."""

    @attack(f"path: {name}")
    def make(lab: Lab, folder: Path) -> list[str]:
        given = [word.replace("FOLDER", str(folder)) for word in words]
        return ["train.py", *lab.words(folder / "run"), *given]


def _rename(folder: Path, name: str) -> None:
    for split in ("train", "test"):
        place = folder.parents[1] / split
        os.rename(place / "red", os.path.join(place, name))


def _idx(folder: Path, content: bytes) -> list[str]:
    compressed = gzip.compress(content, 1)
    for split in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (folder / f"{split}-{kind}-ubyte.gz").write_bytes(compressed)
    config = "--config=configs/lenet5.py:fashion_mnist"
    return ["train.py", config, f"--config.data.dir={folder}"]


data("a FIFO x.png", lambda red: os.mkfifo(red / "x.png"), may_succeed=True)
data("a link to /dev/zero", lambda red: (red / "x.png").symlink_to("/dev/zero"), True)
data("a link to itself", lambda red: (red / "x.png").symlink_to("x.png"), True)
data(
    "a class that links to itself", lambda red: (red.parent / "x").symlink_to("x"), True
)
data("PNG of 60,000 px", lambda red: _put(red / "x.png", png(60_000, 60_000)))
data("PNG of 1 x 4,000", lambda red: _put(red / "x.png", png(1, 4000)), True)
data("a sparse file of 1 TiB", lambda red: _sparse(red / "x.png", 2**40))
data("a class in colour", lambda red: _rename(red, "\x1b[31mred"), may_succeed=True)
data("a class of two lines", lambda red: _rename(red, "re\nd"), may_succeed=True)
data("a class not UTF-8", lambda red: _rename(red, "re\udcff"), may_succeed=True)
data("a class of HTML", lambda red: _rename(red, "<img onerror=x>"), may_succeed=True)
path("a recipe without end", "--config=/dev/zero")
path("a workdir in /proc", "--workdir=/proc/self/x")
path("a workdir that is a device", "--workdir=/dev/null")
path("a workdir of 5,000 characters", "--workdir=FOLDER/" + "x" * 5000)
path("a workdir with NUL", "--workdir=FOLDER/a\x00b")
path("an empty workdir", "--workdir=")


@attack("data: idx file that claims 4 billion images")
def _billions(lab: Lab, folder: Path) -> list[str]:
    return _idx(folder, bytes([0, 0, 8, 3]) + struct.pack(">III", 2**32 - 1, 28, 28))


@attack("data: idx file that expands to 1 GiB")
def _expands(lab: Lab, folder: Path) -> list[str]:
    size = 2**30 // 784
    header = bytes([0, 0, 8, 3]) + struct.pack(">III", size, 28, 28)
    return _idx(folder, header + bytes(2**30))


def _put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _sparse(path: Path, size: int) -> None:
    path.write_bytes(png(9, 9))
    os.truncate(path, size)
