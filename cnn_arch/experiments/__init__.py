"""Experiments: claims of the lectures, tried by training networks."""
