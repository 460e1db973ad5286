"""The page and the pictures of all networks, beside their published errors."""
