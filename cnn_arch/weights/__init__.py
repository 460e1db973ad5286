"""Networks in other programs' files: read, checked, and written."""
