"""The experiments: what the lectures claim, and how it is tried."""
