"""Analyses the costs of one network, for ``analyze.py``."""
