"""The shared parts of all pictures: style, sheets of images, placed labels."""
