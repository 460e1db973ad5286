"""Sweeps, one a file: which settings are tried."""
