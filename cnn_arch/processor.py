"""The processor of this machine: its name, and its widest instructions."""

import platform
from contextlib import suppress
from pathlib import Path

# From the widest on: products in tiles of bfloat16, in vectors of bfloat16, of float32.
WITH_BFLOAT16 = "amx_bf16", "avx512_bf16"
UNITS = (*WITH_BFLOAT16, "avx512f", "avx2")


def name() -> str:
    """Returns the processor's name, or that of its instructions."""
    names = [line for line in _facts().splitlines() if line.startswith("model name")]
    return names[0].partition(": ")[2].strip() if names else platform.machine()


def vector_unit() -> str:
    """Returns its widest instructions for products, one of UNITS, or "unknown"."""
    flags = set(_facts().partition("flags\t\t:")[2].partition("\n")[0].split())
    return next((unit for unit in UNITS if unit in flags), "unknown")


def _facts() -> str:
    """Returns what Linux says of the processors; "" elsewhere."""
    with suppress(OSError):
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return ""
