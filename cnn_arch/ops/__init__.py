"""How a device computes a layer, and what devices send that share one network."""
