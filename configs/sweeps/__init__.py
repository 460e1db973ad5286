"""Sweeps, a file for each: the settings to try."""
