"""Mutated pictures: decoded in bounded memory, or refused by name."""

import contextlib
import io
import os
import re
import resource
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from tests.campaign.fuzzed_settings import fault_of_line
from tests.campaign.lab import Lab, Part
from tests.campaign.launch import Worker
from tests.campaign.table import Trial

FORMATS = "JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"
MODES = "RGB", "L", "RGBA", "P", "CMYK", "1", "I;16"
MAX_BYTES = 2**30  # more memory than before a picture
SUBJECTS = "lenet5.py:folder", "resnet18.py:folder"  # in memory, and file by file


def encoded(generator: np.random.Generator) -> tuple[str, bytes]:
    """Returns a description and the bytes of a picture, some of them changed."""
    kind, mode = str(generator.choice(FORMATS)), str(generator.choice(MODES))
    width, height = (int(2 ** generator.uniform(0, 8)) for _ in range(2))
    if generator.random() < 0.03:
        width, height = 1, int(generator.integers(2000, 8000))
    pixels = generator.integers(0, 256, (height, width, 3)).astype(np.uint8)
    picture = Image.fromarray(pixels).convert("I" if mode == "I;16" else mode)
    file = io.BytesIO()
    try:
        picture.save(file, kind, **_options(kind, generator))
    except (OSError, ValueError):  # the format does not have the mode
        picture.convert("RGB").save(file, kind)
    content = bytearray(file.getvalue())
    change = str(generator.choice(["none", "bits", "cut", "bytes", "header", "insert"]))
    _change(content, change, generator)
    return f"{kind} {mode} {width} x {height}, {change}", bytes(content)


def _options(kind: str, generator: np.random.Generator) -> dict:
    exif = Image.Exif()
    exif[0x0112] = int(generator.integers(0, 12))  # orientation; 1 to 8 are valid
    options = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}
    if kind == "JPEG":
        return options | {"progressive": bool(generator.integers(2))}
    return options


def _change(content: bytearray, change: str, generator: np.random.Generator) -> None:
    end = len(content)
    if change == "cut":
        del content[int(generator.integers(end)) :]
    elif change == "insert":
        place = int(generator.integers(end))
        content[place:place] = generator.bytes(int(generator.integers(1, 64)))
    elif change != "none":
        top = min(64, end) if change == "header" else end
        for _ in range(generator.integers(1, 20)):
            place = int(generator.integers(top))
            if change == "bits":
                content[place] ^= 1 << int(generator.integers(8))
            else:
                content[place] = int(generator.integers(256))


@cache
def _data(subject: str):
    from cnn_arch import settings

    return settings.parse([f"--config=configs/{subject}"])[0].data


def take(item: tuple[bytes, int]) -> str:
    """Reads a picture as --images, and as training and evaluation do; in a worker."""
    content, number = item
    data = _data(SUBJECTS[number % len(SUBJECTS)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.jpg"
        path.write_bytes(content)
        with tempfile.TemporaryFile() as said, _stderr_to(said):
            fault = _as_images(path, data, said) or _as_folder(path, data)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    if not fault and grown > MAX_BYTES:
        fault = f"memory: {grown / 2**20:,.0f} MiB"
    return fault


@contextlib.contextmanager
def _stderr_to(file: IO[bytes]) -> Iterator[None]:
    """Sends what C libraries print to a file."""
    kept = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _as_images(path: Path, data, said: IO[bytes]) -> str:
    from cnn_arch.data import views
    from cnn_arch.data.decoding import UnreadableImageError

    shape = (data.image_size, data.image_size, data.channels)
    try:
        image = views.load_image(str(path), data)
        found = views.evaluation_view(image, data).shape
    except UnreadableImageError as error:
        return fault_of_line(str(error))
    except BaseException as error:
        return f"foreign exception: {type(error).__name__}: {str(error)[:150]!r}"
    said.seek(0)
    if re.search(rb"Corrupt JPEG data|Premature end", printed := said.read()):
        return f"damaged, but used: {printed[:150]!r}"
    return "" if found == shape else f"shape: {found} instead of {shape}"


def _as_folder(path: Path, data) -> str:
    """Reads it as the only picture of a training split, and of a test split."""
    from cnn_arch.data import loading, views
    from cnn_arch.data.folder import FileSource
    from cnn_arch.errors import RunError, UsageError

    source = FileSource(
        str(path.parent),
        [path.name],
        np.zeros(1, np.int32),
        np.array([[path.stat().st_size, 0, 0]]),
    )
    try:
        batches = loading.TrainBatches(source, data, seed=0, batch_size=1)
        batches.batch(0)
        views.load_batch(source, [0], data)
    except (UsageError, RunError) as error:
        return "" if str(path) in str(error) else f"unnamed: {str(error)[:150]}"
    except BaseException as error:
        return f"foreign exception: {type(error).__name__}: {str(error)[:150]!r}"
    return ""


def run(lab: Lab, numbers: Sequence[int]) -> Iterator[Trial]:
    """Reads mutated pictures."""
    worker = Worker(take)
    for number in numbers:
        case, content = encoded(lab.generator("pictures", number))
        fault, command = worker.ask((content, number)), ""
        if fault:
            path = lab.folder / "faults" / f"picture-{number}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            command = f"python eval.py --workdir=RUN --images={path}"
        yield Trial(number, case, fault, command)
    worker.stop()


PART = Part(
    "pictures",
    "mutated pictures in training, evaluation and --images: decoded, or named",
    (150, 2000, 10_000),
    run,
)
