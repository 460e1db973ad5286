"""Data: `sources` finds images, `loading` makes batches, `device` augments them."""

import os

# OpenCV reads these when it is first imported.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(100_000_000))
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # we report unreadable images
