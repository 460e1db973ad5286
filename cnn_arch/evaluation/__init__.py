"""Test protocols: each evaluates every example exactly once."""
