"""Many devices: what they send each other, and how much faster they train."""
