"""The published data sets: their files, checksums, addresses and numbers of images."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from cnn_arch import fetch
from cnn_arch.errors import UsageError
from cnn_arch.fetch import BLOCK_BYTES, Checksum
from cnn_arch.screen import Screen


@dataclasses.dataclass(frozen=True)
class Published:
    """A published data set."""

    version: str  # TFDS's, whose layout is written
    md5: Mapping[str, str]  # of each file, as published
    num_images: Mapping[str, int]  # of each split
    address: str = ""  # of the folder of the files; "": not without an account


PUBLISHED = {
    "mnist": Published(
        "3.0.1",
        {  # torchvision/datasets/mnist.py
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
        {"train": 60_000, "test": 10_000},
        # The copy that torchvision fetches from.
        "https://ossci-datasets.s3.amazonaws.com/mnist",
    ),
    "fashion_mnist": Published(
        "3.0.1",
        {  # github.com/zalandoresearch/fashion-mnist, README
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        {"train": 60_000, "test": 10_000},
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    ),
    "cifar10": Published(
        "3.0.2",
        # www.cs.toronto.edu/~kriz/cifar.html
        {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"},
        {"train": 50_000, "test": 10_000},
        "https://www.cs.toronto.edu/~kriz",
    ),
    "cifar100": Published(
        "3.0.2",
        # www.cs.toronto.edu/~kriz/cifar.html
        {"cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8"},
        {"train": 50_000, "test": 10_000},
        "https://www.cs.toronto.edu/~kriz",
    ),
    "imagenet2012": Published(
        "5.1.0",
        {  # torchvision/datasets/imagenet.py
            "ILSVRC2012_img_train.tar": "1d675b47d978889d74fa0da5fadfb00e",
            "ILSVRC2012_img_val.tar": "29b22e2961454d5413ddabcf34fc5622",
        },
        # TFDS's catalogue, imagenet2012.
        {"train": 1_281_167, "validation": 50_000},
    ),
}


def download(name: str, published: Published, folder: Path, screen: Screen) -> None:
    """Fetches the files of a data set that are not in the folder.

    CNN_ARCH_DATA_URL is the address of a copy.

    Raises:
      UsageError: a file cannot be fetched, or is not the published one.
    """
    if not published.address:
        raise UsageError(
            f"--download: {name} needs an account at image-net.org; download "
            f"{' and '.join(published.md5)} there, then give their folder with --from"
        )
    site = os.environ.get("CNN_ARCH_DATA_URL", published.address).rstrip("/")
    for file, md5 in published.md5.items():
        path = folder / file
        fetch.fetch(f"{site}/{file}", path, Checksum("MD5", md5), screen)


def check(path: Path, md5: str, screen: Screen) -> None:
    """Compares a file with its published checksum, with a bar in MiB.

    Raises:
      UsageError: it is another file, or cannot be read.
    """
    try:
        blocks = -(-path.stat().st_size // BLOCK_BYTES)
        with screen.progress("check MiB", blocks) as progress:
            found = fetch.digest(path, "MD5", lambda _: progress.advance())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if found != md5:
        raise UsageError(
            f"{path}: incomplete or another file, as its MD5 is {found} and not {md5}; "
            "download it again"
        )
