"""The time of messages between devices.

R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective Communication
Operations in MPICH", 2005: a message of b bytes takes latency + b / bandwidth.
P. Patarasuk, X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
workstations", 2009: a ring sends the minimum number of bytes of an all-reduce.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from cnn_arch.errors import UsageError
from cnn_arch.units import parse_rate


@dataclasses.dataclass(frozen=True)
class Link:
    """The link of every device; all devices can send at the same time."""

    name: str  # for the screen
    bandwidth: float  # bytes a second in each direction
    latency_seconds: float  # of a message
    source: str  # of the bandwidth; "" if the user gave it


_NVLINK, _PCIE = "textbookofai.com, NVLink", "hpc-notes.pages.dev, PCI Express bus"
# Bytes a second in one direction; the NVLink sources give the sum of both directions.
NAMED = {
    # https://www.textbookofai.com/glossary/nvlink.html
    "nvlink2": (150e9, f"{_NVLINK}: V100, 300 GB/s in both directions"),
    "nvlink3": (300e9, f"{_NVLINK}: A100, 600 GB/s in both directions"),
    "nvlink4": (450e9, f"{_NVLINK}: H100, 900 GB/s in both directions"),
    # https://hpc-notes.pages.dev/reference/pcie
    "pcie2": (8e9, f"{_PCIE}: 2.0, 16 lanes (GTX 580)"),
    "pcie3": (15.75e9, f"{_PCIE}: 3.0, 16 lanes"),
    "pcie4": (31.5e9, f"{_PCIE}: 4.0, 16 lanes"),
    "pcie5": (63e9, f"{_PCIE}: 5.0, 16 lanes"),
}


def parse_scaling(asked: Mapping[str, Any]) -> tuple[list[int], Link]:
    """Reads the options ``scale``, ``roofline``, ``link`` and ``latency``, us.

    Raises:
      UsageError: one is missing or wrong.
    """
    for option in "roofline", "link":
        if not asked[option]:
            raise UsageError(
                f"--scale={asked['scale']}: needs --{option}; as in "
                "--roofline=h100 --link=400Gbit"
            )
    link = parse_link(asked["link"], asked["latency"])
    return parse_devices(asked["scale"]), link


def parse_link(text: str, latency_microseconds: float) -> Link:
    """Reads ``nvlink4``, 400Gbit, 100Gb/s (bits) or 50GB/s (bytes), of one direction.

    Raises:
      UsageError: the text is no rate, or the latency is negative.
    """
    if not 0 <= latency_microseconds <= 1e6:
        raise UsageError(f"--latency={latency_microseconds:g}: must be 0 to 1,000,000")
    seconds = latency_microseconds / 1e6
    if text in NAMED:
        return Link(text, NAMED[text][0], seconds, NAMED[text][1])
    try:
        return Link(text, parse_rate("--link", text), seconds, "")
    except UsageError as error:
        raise UsageError(f"{error}, or one of {', '.join(NAMED)}") from None


def parse_devices(text: str) -> list[int]:
    """Reads numbers of devices such as 1,2,4,8.

    Raises:
      UsageError: they are not rising, or not positive.
    """
    words = text.split(",")
    is_number = [word.isascii() and word.isdecimal() for word in words]
    numbers = [int(word) for word in words if len(word) < 9] if all(is_number) else []
    is_rising = numbers == sorted(set(numbers)) and len(numbers) == len(words)
    if not is_rising or not 1 <= numbers[0] <= numbers[-1] <= 2**20:
        raise UsageError(
            f"--scale={text}: must be rising numbers up to 1,048,576, such as 1,2,4,8"
        )
    return numbers


def sent_bytes(kind: str, size: int, devices: int) -> float:
    """Returns the bytes that each device of a group sends for a ``Collective``."""
    if kind == "collective-permute":
        return float(size)
    share = size * (devices - 1) / devices
    return 2 * share if kind == "all-reduce" else share


def seconds(kind: str, size: int, devices: int, link: Link) -> float:
    """Returns the time of a collective operation.

    A ring takes devices - 1 messages, and an all-reduce twice as many. An all-reduce of
    few bytes takes log2(devices) messages of all bytes (recursive doubling).
    """
    if devices == 1:
        return 0.0
    sending = sent_bytes(kind, size, devices) / link.bandwidth
    if kind == "collective-permute":
        return link.latency_seconds + sending
    if kind != "all-reduce":
        return (devices - 1) * link.latency_seconds + sending
    rounds = math.ceil(math.log2(devices))
    return min(
        2 * (devices - 1) * link.latency_seconds + sending,
        rounds * (link.latency_seconds + size / link.bandwidth),
    )
