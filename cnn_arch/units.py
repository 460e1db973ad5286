"""Sizes and rates as people write them: 3GiB, 24GB, 50GB/s, 400Gbit."""

import re

from cnn_arch.errors import UsageError

_FACTORS = {"M": 1e6, "G": 1e9, "T": 1e12, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_NUMBER = r"(\d+(?:\.\d+)?) ?([MGT]i?)"
_BYTES_OF = {"B": 1, "b": 1 / 8, "bit": 1 / 8}


def parse_size(option: str, text: str) -> int:
    """Reads a number of bytes, such as 3GiB (of 2**30) or 24GB (of 10**9).

    Args:
      option: that gives the size, for the message.
      text: the size.

    Raises:
      UsageError: it is none, or it is zero.
    """
    size = _num_bytes(_NUMBER + "(B)", text)
    if not size:
        raise UsageError(f"{option}={text}: must be a size such as 3GiB or 24GB")
    return int(size)


def parse_rate(option: str, text: str) -> float:
    """Reads bytes a second, from bytes (50GB/s) or bits (400Gbit, 100Gb/s, 100Gbps).

    Args:
      option: that gives the rate, for the message.
      text: the rate.

    Raises:
      UsageError: it is none, or it is zero.
    """
    rate = _num_bytes(_NUMBER + "(B|b|bit)(?:/s|ps)?", text)
    if not rate:
        raise UsageError(f"{option}={text}: must be a rate such as 400Gbit or 50GB/s")
    return rate


def _num_bytes(pattern: str, text: str) -> float:
    found = re.fullmatch(pattern, text)
    if not found:
        return 0.0
    return float(found[1]) * _FACTORS[found[2]] * _BYTES_OF[found[3]]
