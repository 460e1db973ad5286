"""From image files to uint8 batches: `sources` finds the data, `loading` serves it."""

import os

# OpenCV reads these once, when it is first imported.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(100_000_000))
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # errors are told by us, once
