"""Files of weights, also of other programs: read, checked and written."""
