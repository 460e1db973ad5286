"""Reads XLA's own count of a program, which not every device has."""

from typing import Any


def reported_xla_flops(traced: Any) -> int | None:
    """Returns XLA's flops of a traced program, or None; compiles nothing."""
    try:
        return flops_of(traced.lower().cost_analysis())
    except (NotImplementedError, RuntimeError):
        return None


def flops_of(analysis: Any) -> int | None:
    """Reads the flops from XLA's answer, which may be None, empty or -1."""
    flops = analysis.get("flops", -1.0) if isinstance(analysis, dict) else -1.0
    return int(flops) if flops >= 0 else None
