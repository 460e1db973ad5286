"""What all pictures share: style and colours, sheets of images, placed labels."""
