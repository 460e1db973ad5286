"""Decodes the bytes of an image file, within limits."""

import io
import os

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from cnn_arch.data import metadata

MAX_FILE_BYTES = 100 * 2**20
MAX_PIXELS = int(os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"])
JPEG_MAGIC = b"\xff\xd8\xff"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PLAIN = "Gray", "YCbCr", "RGB"  # colours of a JPEG that need no conversion
MAGIC_BYTES = (JPEG_MAGIC, PNG_MAGIC, b"BM")  # the last is BMP's

# How the words begin with which simplejpeg refuses whole files with four inks.
OF_INKS = "Unsupported color conversion", "tjDecompressHeader3(): Could not determine"

Image.MAX_IMAGE_PIXELS = None  # Pillow's limit; ours is lower, and not a warning


class UnreadableImageError(Exception):
    """Bytes are not an image of an accepted format; the text is the reason."""


def is_image(encoded: bytes) -> bool:
    """Returns whether bytes begin as a JPEG, PNG, BMP or WebP file does."""
    is_webp = encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP"
    return is_webp or encoded.startswith(MAGIC_BYTES)


def is_plain_jpeg(encoded: bytes) -> bool:
    """Returns whether a file begins as a JPEG of gray or colours."""
    if not encoded.startswith(JPEG_MAGIC):
        return False
    try:
        return simplejpeg.decode_jpeg_header(encoded)[2] in PLAIN
    except ValueError:  # inks that simplejpeg does not know, or damage
        return False


def decode(
    encoded: bytes, channels: int, *, shown: bool, least_side: int = 0
) -> np.ndarray:
    """Decodes a JPEG, PNG, WebP or BMP file.

    With ``shown``, the image is as a viewer shows it: turned by its Exif orientation
    (JPEG, PNG, WebP), and transparent parts are on white (PNG, WebP). Otherwise it has
    the stored pixels: not turned, and with whatever colour the transparent ones have.

    With ``least_side``, a JPEG file is decoded at 1/2, 1/4 or 1/8 of its size: the
    smallest that leaves its shorter side so many px. libjpeg then computes fewer pixels
    from the same file, each about the mean of those it replaces. Some files with four
    inks keep their size.

    Returns:
      uint8 [height, width, channels]; 3 channels are red, green, blue; 1 is gray.

    Raises:
      UnreadableImageError: the format is another, or the file is damaged or too large.
    """
    if len(encoded) > MAX_FILE_BYTES:
        raise UnreadableImageError(f"more than {MAX_FILE_BYTES:,} bytes")
    if not is_image(encoded[:12]):
        raise UnreadableImageError(f"{len(encoded):,} bytes")
    pixels = encoded
    if encoded.startswith(PNG_MAGIC):
        pixels = metadata.plain_png(encoded)  # Pillow ignores checksums
        if not pixels:
            raise UnreadableImageError(f"a damaged PNG file, {len(encoded):,} bytes")
    if not shown:
        return _decode_stored(pixels, channels, least_side)
    image = None
    if metadata.has_transparency(pixels):
        image = _decode_on_white(pixels, channels)
    if image is None:
        image = _decode_stored(pixels, channels, least_side)
    return _turn(image, metadata.orientation(encoded))


def image_shape(encoded: bytes, *, shown: bool, least_side: int = 0) -> tuple[int, int]:
    """Returns the height and width that ``decode`` gives, from the header alone.

    One case is wrong: with ``least_side``, a file with four inks that keeps its size.

    Raises:
      UnreadableImageError: the header is damaged, or the image is too large.
    """
    picture = _open_with_pillow(encoded)
    if picture is None:
        raise UnreadableImageError(f"{len(encoded):,} bytes")
    is_turned = shown and metadata.orientation(encoded) >= 5
    width, height = picture.size
    if picture.format == "JPEG":
        height, width = _reduced(height, width, least_side)
    return (width, height) if is_turned else (height, width)


def _reduced(height: int, width: int, least_side: int) -> tuple[int, int]:
    """Returns the size at which libjpeg decodes a file; 0 px: the file's own."""
    if not least_side:
        return height, width
    side = min(height, width)
    part = next((n for n in (8, 4, 2) if side >= n * least_side), 1)
    return -(-height // part), -(-width // part)


def _decode_stored(encoded: bytes, channels: int, least_side: int) -> np.ndarray:
    if encoded.startswith(JPEG_MAGIC):
        # The same pixels as from OpenCV in 90 % of its time. OpenCV reads all kinds
        # with four inks, but fills what is damaged.
        try:
            height, width, *_ = simplejpeg.decode_jpeg_header(encoded)
            _check_size(height, width)
            colours = "RGB" if channels == 3 else "GRAY"
            height, width = _reduced(height, width, least_side)
            return simplejpeg.decode_jpeg(
                encoded, colours, min_height=height, min_width=width
            )
        except ValueError as error:
            picture = _open_with_pillow(encoded)
            has_inks = picture is not None and picture.mode == "CMYK"
            if not (has_inks and str(error).startswith(OF_INKS)):
                raise UnreadableImageError(str(error)) from None
    color = cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE
    flags = color | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:  # more pixels than OPENCV_IO_MAX_IMAGE_PIXELS
        image = None
    if image is None:
        _open_with_pillow(encoded)  # if the image is too large, this says so
        raise UnreadableImageError(f"{len(encoded):,} bytes")
    return image.reshape(*image.shape[:2], channels)


def _decode_on_white(encoded: bytes, channels: int) -> np.ndarray | None:
    """Decodes an image with transparent parts; None if Pillow does not know the kind.

    OpenCV ignores the transparent colour of a gray PNG.
    """
    picture = _open_with_pillow(encoded)
    if picture is None:
        return None
    try:
        picture = picture.convert("RGBA")
    except Exception:  # Pillow's decoders raise many types for a damaged file
        return None
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture)
    image = np.asarray(white)
    if channels == 3:
        return image
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None]


def _open_with_pillow(encoded: bytes) -> Image.Image | None:
    """Reads the header; None if it is damaged.

    Raises:
      UnreadableImageError: the image is too large.
    """
    try:
        picture = Image.open(
            io.BytesIO(encoded), formats=("JPEG", "PNG", "WEBP", "BMP")
        )
    except Exception:
        return None
    _check_size(picture.height, picture.width)
    return picture


def _check_size(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise UnreadableImageError(
            f"{height} x {width} px, the limit is {MAX_PIXELS:,} px"
        )


def _turn(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turns a stored image upright, by its Exif orientation, 1 to 8."""
    if orientation == 1:
        return image
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)
