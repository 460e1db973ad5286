"""Data sets: found, divided into splits, inspected and reported."""
