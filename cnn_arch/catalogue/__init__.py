"""The page and the pictures of all networks, with their published errors."""
