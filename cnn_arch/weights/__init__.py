"""Files of weights, also of other programs: fetched, read, checked and written."""

# Of the files that can be read.
SUFFIXES = (".npz", ".safetensors", ".pth", ".pt", ".th", ".caffemodel")
