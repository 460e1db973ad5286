"""States of a run on disk: saved whole, verified bit for bit when they are restored."""
