"""The attack files, each with the command that it is given to."""

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.campaign.lab import Lab
from tests.weights.caffe_files import encode, varint


@dataclass(frozen=True)
class Attack:
    """A file, or several, and the words of the command that reads them."""

    name: str
    make: Callable[[Lab, Path], list[str]]
    may_succeed: bool = False  # if the file can also be read, or be harmless


ATTACKS: list[Attack] = []


def attack(
    name: str, *, may_succeed: bool = False
) -> Callable[[Callable[[Lab, Path], list[str]]], None]:
    """Puts a function that makes the files into the list."""

    def add(make: Callable[[Lab, Path], list[str]]) -> None:
        ATTACKS.append(Attack(name, make, may_succeed))

    return add


def weights(
    name: str, content: Callable[[Path], bytes], recipe: str = "lenet5"
) -> None:
    """Adds a file of weights that eval.py must refuse."""

    @attack(f"weights: {name}")
    def make(lab: Lab, folder: Path) -> list[str]:
        path = folder / name.split()[0]
        path.write_bytes(content(folder))
        picture = f"--images={lab.photos / 'test' / 'red' / '0.png'}"
        config = f"--config=configs/{recipe}.py"
        where = f"--workdir={folder / 'results'}"
        return ["eval.py", config, f"--weights={path}", picture, where]


class _Runs:
    """An object that runs code when it is unpickled."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.mkdir, (str(self.canary),)


def _npz(entries: dict[str, Any], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in entries.items():
            if not isinstance(content, bytes):
                array = io.BytesIO()
                np.save(array, content, allow_pickle=True)
                content = array.getvalue()
            archive.writestr(name + ".npy", content)
    return file.getvalue()


def _claim(shape: str) -> bytes:
    """Returns an .npy file without data whose header claims a shape."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


def _tensors(
    header: dict[str, Any], data: bytes = b"", size: int | None = None
) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


_ONE = np.ones(1, np.float32)
_NAMES = [f"x{i}" for i in range(30_000)]
_F8 = {"a": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}
_OUTSIDE = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**40]}}
_HUGE = {"a": {"dtype": "F32", "shape": [2**50], "data_offsets": [0, 4]}}
weights(
    "a.npz that unpickles", lambda f: _npz({"x": pickle.dumps(_Runs(f / "canary"))})
)
weights(
    "b.npz with an object array",
    lambda f: _npz({"params/C1": np.array([_Runs(f / "canary")], object)}),
)
weights(
    "c.npz compressed, 1 GiB of zeros",
    lambda f: _npz({"params/C1": _claim("(1,)") + bytes(2**30)}, zipfile.ZIP_DEFLATED),
)
weights("d.npz that claims 4 TiB", lambda f: _npz({"params/C1": _claim("(2**40,)")}))
weights(
    "e.npz claiming 4 TiB", lambda f: _npz({"params/C1": _claim("(1099511627776,)")})
)
weights("f.npz with a and a/b", lambda f: _npz({"params/a": _ONE, "params/a/b": _ONE}))
weights("g.npz of 30,000 arrays", lambda f: _npz(dict.fromkeys(_NAMES, _ONE)))
weights("h.npz with ../", lambda f: _npz({"../../canary": _ONE}))
weights("i.npz cut", lambda f: _npz({"params/C1": _ONE})[:100])
weights("j.npz of nothing", lambda f: b"")
weights("k.npz with names in colour", lambda f: _npz({"params/\x1b[31m": _ONE}))
weights("l.safetensors, huge header", lambda f: _tensors({}, size=2**60), "resnet18")
weights("m.safetensors with F8", lambda f: _tensors(_F8, bytes(1)), "resnet18")
weights("n.safetensors outside", lambda f: _tensors(_OUTSIDE, bytes(4)), "resnet18")
weights("o.safetensors claims much", lambda f: _tensors(_HUGE, bytes(4)), "resnet18")
weights(
    "p.safetensors, deep",
    lambda f: struct.pack("<Q", 200_000) + b'{"a":' * 40_000,
    "resnet18",
)
weights("q.pth that unpickles", lambda f: pickle.dumps(_Runs(f / "canary")), "resnet18")
_SIZES = encode(7, encode(1, 2 * varint(2**20))) + encode(5, bytes(4))  # of one number
_LAYER = encode(100, encode(1, "conv1") + encode(7, _SIZES))
weights("r.caffemodel that claims 4 TiB", lambda f: _LAYER, "alexnet")
weights("s.caffemodel of many layers", lambda f: encode(2, b"") * 10**6, "alexnet")
weights("t.caffemodel cut", lambda f: _LAYER[:-3], "alexnet")


def picture(name: str, make_files: Callable[[Path], None], may_succeed=False) -> None:
    """Adds pictures for eval.py --images=FOLDER."""

    @attack(f"pictures: {name}", may_succeed=may_succeed)
    def make(lab: Lab, folder: Path) -> list[str]:
        pictures = folder / "pictures"
        pictures.mkdir()
        make_files(pictures)
        run = lab.copy(lab.oracle.reference, "attacks/run")
        return ["eval.py", f"--workdir={run}", f"--images={pictures}"]


def png(width: int, height: int) -> bytes:
    """Returns a gray PNG of a bit a pixel, all black, in few bytes."""
    compressor, row = zlib.compressobj(9), bytes(1 + -(-width // 8))
    data = (
        b"".join(compressor.compress(row) for _ in range(height)) + compressor.flush()
    )

    def chunk(kind: bytes, content: bytes) -> bytes:
        code = zlib.crc32(kind + content)
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", code)
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _jpeg(width: int, height: int) -> bytes:
    """Returns a small JPEG whose header claims another size."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG")
    content = file.getvalue()
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


picture("PNG of 60,000 x 60,000", lambda f: _put(f, png(60_000, 60_000)))
picture("JPEG of 65,000 x 65,000", lambda f: _put(f, _jpeg(65_000, 65_000)))
picture("PNG of 1 x 4,000", lambda f: _put(f, png(1, 4000)), may_succeed=True)
picture("PNG of 1 x 1,000,000", lambda f: _put(f, png(1, 1_000_000)), may_succeed=True)
picture("a FIFO", lambda f: os.mkfifo(f / "x.jpg"))
picture("a folder x.jpg", lambda f: (f / "x.jpg").mkdir())
picture("a link to itself", lambda f: (f / "x.jpg").symlink_to("x.jpg"))
picture("a link to /dev/zero", lambda f: (f / "x.jpg").symlink_to("/dev/zero"))
picture("a name in colour", lambda f: _put(f, png(9, 9), "\x1b[31m.png"), True)
picture("a name with a line break", lambda f: _put(f, b"", "a\nerror: b.png"))
picture("a name not UTF-8", lambda f: _put(f, png(9, 9), "\udcff.png"), True)
picture("a GIF named .jpg", lambda f: Image.new("L", (9, 9)).save(f / "x.jpg", "GIF"))


def _put(folder: Path, content: bytes, name: str = "x.png") -> None:
    (folder / name).write_bytes(content)


def damaged_run(
    name: str, damage: Callable[[Path], None], program: str = "eval"
) -> None:
    """Adds a run directory that somebody else has made."""

    @attack(f"run: {name}", may_succeed=program == "train")
    def make(lab: Lab, folder: Path) -> list[str]:
        source = lab.half_done if program == "train" else lab.oracle.reference
        run = lab.copy(source, "attacks/run")
        damage(run)
        if program == "train":
            return ["train.py", *lab.words(run)]
        return ["eval.py", f"--workdir={run}"]


def _records(run: Path, text: str) -> None:
    for path in run.glob("checkpoints/*/record/data.json"):
        path.write_text(text)


def _set(run: Path, **values: Any) -> None:
    path = run / "config.json"
    config = json.loads(path.read_text())
    for key, value in values.items():
        *groups, last = key.split("__")
        place = config
        for group in groups:
            place = place[group]
        place[last] = value
    path.write_text(json.dumps(config))


def _steps(run: Path, target: str) -> None:
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "24").symlink_to(target)


damaged_run("config.json, deep", lambda r: _write(r / "config.json", "[" * 10**6))
damaged_run("config.json, 3 GiB", lambda r: os.truncate(r / "config.json", 3 * 2**30))
damaged_run("config.json, a FIFO", lambda r: _fifo(r / "config.json"))
damaged_run("model.name ../x", lambda r: _set(r, model__name="../../x"))
damaged_run("huge batch", lambda r: _set(r, batch_size=10**12))
damaged_run("huge image", lambda r: _set(r, data__image_size=10**6))
damaged_run("model.fields", lambda r: _set(r, model__fields={"__class__": "os"}))
damaged_run("records, deep", lambda r: _records(r, "[" * 10**6))
damaged_run("records, a list", lambda r: _records(r, "[]"))
damaged_run("records, a huge number", lambda r: _records(r, "9" * 10**5))
damaged_run("checkpoints in /etc", lambda r: _steps(r, "/etc"))
damaged_run("classes.json, empty", lambda r: _write(r / "classes.json", ""))
damaged_run("classes.json, deep", lambda r: _write(r / "classes.json", "[" * 10**6))
damaged_run("metrics.csv, 1 MB", lambda r: _append(r, "1," + "9" * 10**6), "train")
damaged_run("metrics.csv, NUL", lambda r: _append(r, "\x00,\x00\n"), "train")
damaged_run("metrics.csv, words", lambda r: _append(r, ",".join("a" * 11)), "train")
damaged_run("steps.csv, no header", lambda r: _write(r / "steps.csv", "1,2\n"), "train")


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _append(run: Path, text: str) -> None:
    with (run / "metrics.csv").open("a") as file:
        file.write(text + "\n")
