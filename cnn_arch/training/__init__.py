"""Training: from a config and data to a trained network."""
