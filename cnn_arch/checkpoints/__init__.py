"""Training states on disk: saved completely, and verified bit for bit on restore."""
