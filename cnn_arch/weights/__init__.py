"""Files of weights, also of other programs: fetched, read, checked and written."""

SUFFIXES = (".npz", ".safetensors", ".pth", ".pt")  # of the files that can be read
