"""Sizes, rates and counts as people write them: 3GiB, 50GB/s, 1 image, 2 images."""

import re

from cnn_arch.errors import UsageError

_FACTORS = {"M": 1e6, "G": 1e9, "T": 1e12, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_BYTES_OF = {"B": 1, "b": 1 / 8, "bit": 1 / 8}


def parse_size(option: str, text: str) -> int:
    """Reads a number of bytes, such as 3GiB (of 2**30) or 24GB (of 10**9).

    Raises:
      UsageError: the option's text is not a size, or is zero.
    """
    return int(_num_bytes(option, text, "(B)", "a size such as 3GiB or 24GB"))


def parse_rate(option: str, text: str) -> float:
    """Reads bytes a second, from bytes (50GB/s) or bits (400Gbit, 100Gb/s, 100Gbps).

    Raises:
      UsageError: the option's text is not a rate, or is zero.
    """
    rule = "a rate such as 400Gbit or 50GB/s"
    return _num_bytes(option, text, "(B|b|bit)(?:/s|ps)?", rule)


def counted(count: float, noun: str) -> str:
    """Returns 1 image, 2 images, 1,000 images, 0.5 images."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def number(value: float) -> str:
    """Returns 60,850 for a whole number; others with four digits: 1,234, 0.05123."""
    is_whole = float(value).is_integer()
    return f"{value:,.0f}" if is_whole or abs(value) >= 1000 else f"{value:,.4g}"


def _num_bytes(option: str, text: str, unit: str, rule: str) -> float:
    found = re.fullmatch(rf"(\d+(?:\.\d+)?) ?([MGT]i?){unit}", text)
    if not found or not float(found[1]):
        raise UsageError(f"{option}={text}: must be {rule}")
    return float(found[1]) * _FACTORS[found[2]] * _BYTES_OF[found[3]]
