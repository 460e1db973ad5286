"""Files that others publish: fetched when the user asks, checked and kept.

Pooch, the usual library for this, does not continue a download that was interrupted
and needs requests; huggingface_hub does, but serves its own site only. Python's urllib
needs no package.
"""

import dataclasses
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from cnn_arch.errors import UsageError
from cnn_arch.files import sync
from cnn_arch.screen import Screen

TIMEOUT_SECONDS = 30.0  # without a byte
BLOCK_BYTES = 2**20
SHOWN_DIGITS = 8  # of a checksum that is wrong


@dataclasses.dataclass(frozen=True)
class Checksum:
    """The published checksum of a file, or how it starts."""

    kind: str  # SHA-256, SHA-1, MD5
    digits: str  # hexadecimal, in small letters


def cache_folder(name: str) -> Path:
    """Returns where files of a kind are kept: ~/.cache/cnn_arch/NAME."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "cnn_arch" / name


def fetch(address: str, path: Path, published: Checksum, screen: Screen) -> None:
    """Fetches a file, if it is not there; an interrupted fetch continues.

    Raises:
      UsageError: the file cannot be fetched or kept, or is not the published one.
    """
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # one process fetches
            if not path.exists():
                _fetch(address, path, published, screen)
    except (OSError, http.client.HTTPException) as error:  # also those of urllib
        cause = getattr(error, "reason", error)  # of urllib: text, or another error
        reason = getattr(cause, "strerror", None) or cause or type(error).__name__
        raise UsageError(
            f"{address}: {reason}; the same command continues, or put the file into "
            f"{path.parent}"
        ) from None


def digest(path: Path, kind: str, seen: Callable[[bytes], None] | None = None) -> str:
    """Returns the checksum of a file's content.

    Args:
      path: of the file.
      kind: of ``Checksum``.
      seen: is called with each block of ``BLOCK_BYTES``.
    """
    found = hashlib.new(kind.replace("-", "").lower(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            found.update(block)
            if seen:
                seen(block)
    return found.hexdigest()


def _fetch(address: str, path: Path, published: Checksum, screen: Screen) -> None:
    """Fetches a file into FILE.part, from where that ends, then checks and names it."""
    part = path.with_name(f"{path.name}.part")
    _receive(address, part, screen)
    found, wanted = digest(part, published.kind), published.digits
    if not found.startswith(wanted):
        part.unlink()
        raise UsageError(
            f"{address}: its {published.kind} starts with {found[:SHOWN_DIGITS]}, not "
            f"with {wanted[:SHOWN_DIGITS]}: this is another file, and was deleted"
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
