"""Decodes only the part of a JPEG file that a random box shows.

The pixels are those of the whole image, bit for bit, and a photograph of 400 px takes
0.7 of the time: libjpeg-turbo leaves out rows and columns. nvImageCodec is the one
packaged library that we found to offer this; it has it on Linux. For damaged bytes it
gives gray pixels, and no error. So ``decoding`` first decodes a file whole, and refuses
a damaged one; later, the same bytes are decoded in parts.
"""

import functools
import importlib.util
import os
import tempfile
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from cnn_arch.data import decoding, metadata

# If chroma has half the columns, libjpeg-turbo interpolates a single column of it in
# another way. Parts narrower than this, px, are cut out of the whole image.
LEAST_WIDTH = 16
EXTENSIONS = "NVIMGCODEC_EXTENSIONS_PATH"


@functools.cache
def library() -> Any:
    """Returns nvImageCodec; None where it is not installed or cannot be loaded."""
    try:
        package = importlib.util.find_spec("nvidia.nvimgcodec")
    except ModuleNotFoundError:
        package = None
    if package is None or package.origin is None:
        return None
    before = os.environ.get(EXTENSIONS)
    # Its extensions for GPUs print to stderr that libraries of CUDA are missing. So it
    # finds only the one for JPEG files on a processor.
    with tempfile.TemporaryDirectory() as folder:
        for path in Path(package.origin).parent.glob("extensions/libjpeg_turbo_ext*"):
            os.symlink(path, os.path.join(folder, path.name))
        os.environ[EXTENSIONS] = folder
        try:
            from nvidia import nvimgcodec
        except (ImportError, OSError):
            return None
        finally:
            del os.environ[EXTENSIONS]
            if before is not None:
                os.environ[EXTENSIONS] = before
    return nvimgcodec


class _OfThread(threading.local):
    """A decoder for each thread, which works in that thread."""

    def __init__(self) -> None:
        codec = library()
        self.decoder = codec.Decoder(
            device_id=codec.NVIMGCODEC_DEVICE_CPU_ONLY,
            max_num_cpu_threads=1,
            backends=[codec.Backend(codec.BackendKind.CPU_ONLY)],
        )


@functools.cache
def _of_thread() -> _OfThread:
    return _OfThread()


class JpegPixels:
    """The pixels of a JPEG file, decoded when they are read: ``pixels[9:80, 5:70]``."""

    def __init__(self, encoded: bytes, channels: int):
        """Reads the header of a file that ``decoding`` can decode."""
        self._encoded = encoded
        self._stream = library().CodeStream(encoded)
        self.shape = self._stream.height, self._stream.width, channels

    def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
        """Decodes some rows and columns, uint8 [rows, columns, channels]."""
        height, width, channels = self.shape
        (top, bottom, _), (left, right, _) = (
            place.indices(length)
            for place, length in zip(part, (height, width), strict=True)
        )
        if right - left >= LEAST_WIDTH and bottom > top:
            codec = library()
            colours = codec.ColorSpec.SRGB if channels == 3 else codec.ColorSpec.GRAY
            region = codec.Region(top, left, bottom, right)
            found = _of_thread().decoder.decode(
                self._stream.get_sub_code_stream(region=region),
                params=codec.DecodeParams(
                    color_spec=colours, apply_exif_orientation=False
                ),
            )
            if found is not None:
                return np.asarray(found)
        return decoding.decode(self._encoded, channels, shown=False)[part]


class JpegParts:
    """Decodes the files of a split: each whole at first, and then only in parts.

    Threads may share it.
    """

    def __init__(self, number: int):
        """Knows no file yet, of ``number`` files."""
        self._checksums = np.zeros(number, np.uint32)  # of sound files; 0: not known

    def decode(
        self, index: int, encoded: bytes, channels: int, *, shown: bool, **options: Any
    ) -> np.ndarray | JpegPixels:
        """Decodes a file as ``decoding.decode`` does, or leaves it to its reader.

        Raises:
          UnreadableImageError: as ``decoding.decode``.
        """
        checksum = zlib.crc32(encoded)
        if checksum and self._checksums[index] == checksum:
            return JpegPixels(encoded, channels)
        image = decoding.decode(encoded, channels, shown=shown, **options)
        is_turned = shown and metadata.orientation(encoded) > 1
        if decoding.is_plain_jpeg(encoded) and not is_turned:
            self._checksums[index] = checksum
        return image
