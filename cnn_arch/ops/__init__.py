"""How a device computes a layer, and what devices that share one send each other."""
