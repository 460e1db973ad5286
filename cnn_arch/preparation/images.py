"""The images of an archive as they are stored: JPEG files that every program reads."""

import cv2
import numpy as np

from cnn_arch.data.decoding import UnreadableImageError, decode, is_plain_jpeg
from cnn_arch.errors import UsageError

QUALITY = 95  # of a smaller JPEG
FULL_QUALITY = 100  # of an image in another format; TFDS's


def as_jpeg(encoded: bytes, name: str, short_side: int, *, shown: bool) -> bytes:
    """Returns an image as a JPEG of gray or colours.

    A JPEG with four inks, as 22 of ImageNet's, and any other format, as one of
    ImageNet's, are encoded anew. A plain JPEG keeps its bytes.

    Args:
      encoded: the image's file.
      name: of the image, for the message.
      short_side: of a larger image, its shorter side afterwards, px; 0: any.
      shown: whether a smaller image is turned by its Exif orientation first.

    Raises:
      UsageError: it is not an image.
    """
    try:
        is_plain = is_plain_jpeg(encoded)
        if is_plain and not short_side:
            return encoded
        image = decode(encoded, 3, shown=shown)
    except UnreadableImageError as error:
        raise UsageError(
            f"{name}: not a readable image ({error}); get it again"
        ) from None
    if not short_side or min(image.shape[:2]) <= short_side:
        return encoded if is_plain else _encode(image, FULL_QUALITY)
    return _encode(shrink(image, short_side), QUALITY)


def check(encoded: bytes, name: str) -> np.ndarray:
    """Returns the pixels of a user's image, as a viewer shows it.

    Raises:
      UsageError: it is not an image.
    """
    try:
        return decode(encoded, 3, shown=True)
    except UnreadableImageError as error:
        raise UsageError(f"{name}: not a readable image ({error})") from None


def smaller(encoded: bytes, name: str, short_side: int) -> bytes:
    """Returns a user's image as it is, or smaller, as a JPEG, as a viewer shows it.

    Raises:
      UsageError: it is not an image.
    """
    image = check(encoded, name)
    if min(image.shape[:2]) <= short_side:
        return encoded
    return _encode(shrink(image, short_side), QUALITY)


def shrink(image: np.ndarray, short_side: int) -> np.ndarray:
    """Resizes an image to a shorter side in px; each pixel is the mean of an area."""
    height, width = image.shape[:2]
    share = short_side / min(height, width)
    size = max(short_side, round(share * width)), max(short_side, round(share * height))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _encode(image: np.ndarray, quality: int) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", image[..., ::-1], options)[1].tobytes()
