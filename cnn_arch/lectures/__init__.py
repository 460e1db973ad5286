"""Statements of lecture notes about networks, compared with counts."""
