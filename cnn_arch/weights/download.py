"""The weights that torchvision publishes: fetched when the user asks, and kept.

Pooch, the usual library for this, does not continue a download that was interrupted
and needs requests; huggingface_hub does, but serves its own site only. Python's urllib
needs no package.
"""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from filelock import FileLock

from cnn_arch import hints
from cnn_arch.errors import UsageError
from cnn_arch.files import sync
from cnn_arch.screen import Screen

PREFIX = "torchvision:"
ADDRESS = "https://download.pytorch.org/models"  # CNN_ARCH_WEIGHTS_URL: of a copy
TIMEOUT_SECONDS = 30.0  # without a byte
BLOCK_BYTES = 2**20

# From WeightsEnum of torchvision/models/*.py, version 0.24: the name of the file. Its
# last part is the start of its SHA-256, as torch.hub checks it. Without an ending, a
# name is IMAGENET1K_V1; .v2 is IMAGENET1K_V2.
FILES = {
    "alexnet": "alexnet-owt-7be5be79",
    "vgg11": "vgg11-8a719046",
    "vgg11_bn": "vgg11_bn-6002323d",
    "vgg13": "vgg13-19584684",
    "vgg13_bn": "vgg13_bn-abd245e5",
    "vgg16": "vgg16-397923af",
    "vgg16_bn": "vgg16_bn-6c64b313",
    "vgg19": "vgg19-dcbb9e9d",
    "vgg19_bn": "vgg19_bn-c79401a0",
    "googlenet": "googlenet-1378be20",
    "inception_v3": "inception_v3_google-0cc3c7bd",
    "resnet18": "resnet18-f37072fd",
    "resnet34": "resnet34-b627a593",
    "resnet50": "resnet50-0676ba61",
    "resnet50.v2": "resnet50-11ad3fa6",
    "resnet101": "resnet101-63fe2227",
    "resnet101.v2": "resnet101-cd907fc2",
    "resnet152": "resnet152-394f9c45",
    "resnet152.v2": "resnet152-f82ba261",
}


def is_published(given: str) -> bool:
    """Whether this is the name of published weights: ``torchvision:resnet18``.

    Raises:
      UsageError: it looks like one, but there are no such weights.
    """
    if not given.startswith(PREFIX):
        return False
    name = given.removeprefix(PREFIX)
    if name not in FILES:
        raise UsageError(f"{given}: no such weights; {hints.choose(name, FILES)}")
    return True


def local_path(given: str, screen: Screen) -> str:
    """Returns the path of a file of weights, which is fetched first if it must be.

    Args:
      given: a path, or the name of published weights: ``torchvision:resnet18``.
      screen: for the progress.

    Raises:
      UsageError: there are no such weights, they cannot be fetched or kept, or they are
        not the published ones.
    """
    if not is_published(given):
        return given
    file = f"{FILES[given.removeprefix(PREFIX)]}.pth"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "cnn_arch" / "weights" / file
    if path.exists():
        return str(path)
    address = f"{os.environ.get('CNN_ARCH_WEIGHTS_URL', ADDRESS).rstrip('/')}/{file}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # one process fetches
            if not path.exists():
                _fetch(address, path, screen)
    except (OSError, http.client.HTTPException) as error:  # also those of urllib
        cause = getattr(error, "reason", error)  # of urllib: text, or another error
        reason = getattr(cause, "strerror", None) or cause or type(error).__name__
        raise UsageError(
            f"{address}: {reason}; the same command continues, or put the file into "
            f"{path.parent}"
        ) from None
    return str(path)


def _fetch(address: str, path: Path, screen: Screen) -> None:
    """Fetches a file into FILE.part, from where that ends, then checks and names it."""
    part = path.with_name(f"{path.name}.part")
    _receive(address, part, screen)
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(wanted := path.stem.rpartition("-")[2]):
        part.unlink()
        raise UsageError(
            f"{address}: its SHA-256 starts with {digest[:8]}, not with {wanted}: this "
            "is another file, and was deleted"
        )
    sync(part)
    part.replace(path)
    screen.say("fetched", f"{address} -> {path}")


def _receive(address: str, part: Path, screen: Screen) -> None:
    """Appends what a file has beyond its part."""
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={done}-"})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and done:  # the part is the whole file
                return
            raise
    with answer:
        is_rest = answer.status == 206  # else the server sends the whole file
        start = done if is_rest else 0
        length = int(answer.headers.get("Content-Length") or 0)
        with part.open("ab" if is_rest else "wb") as file:
            _copy(answer, file, length, screen)
        if length and part.stat().st_size < start + length:
            raise OSError("the connection ended early")


def _copy(answer: Any, file: Any, length: int, screen: Screen) -> None:
    """Writes an answer to a file, with a bar in MiB."""
    with screen.progress("fetch MiB", -(-length // BLOCK_BYTES)) as progress:
        while block := answer.read(BLOCK_BYTES):
            file.write(block)
            progress.advance()
