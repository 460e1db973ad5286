"""How papers test a network: each protocol sees every example exactly once."""
