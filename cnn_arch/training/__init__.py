"""What turns a config and data into a trained network."""
