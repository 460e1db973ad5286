"""Training on many devices: their messages, and how much faster they train."""
