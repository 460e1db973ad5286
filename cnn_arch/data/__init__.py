"""From files to batches: `sources` finds, `loading` serves, `device` augments."""

import os

# OpenCV reads these once, when it is first imported.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(100_000_000))
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # errors are told by us, once
