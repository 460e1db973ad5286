"""What the header of an image file says of its display: orientation and transparency.

Nothing here decodes pixels. A header that is damaged says nothing.
"""

import zlib
from collections.abc import Iterator

MAX_PIECES = 100_000  # segments or chunks of a file that are looked at
ORIENTATION = 0x0112  # the Exif tag
START_OF_SCAN, APP1 = 0xDA, 0xE1  # JPEG's markers
LONG = 4  # the Exif type of 32 bits; a SHORT has 16
ALPHA = 0x10  # a bit in the headers VP8X and VP8L of WebP
PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # chunks
PNG_WITH_ALPHA = (4, 6)  # colour types: gray and RGB, each with alpha


def orientation(encoded: bytes) -> int:
    """Returns the Exif orientation of a JPEG, PNG or WebP file, 1 to 8; 1 is upright.

    Exif 2.32, Section 4.6.4: 3 is turned by 180 degrees, 6 and 8 by 90 degrees; the
    even numbers up to 4, and 5 and 7, are mirrored.
    """
    value = _tag(_exif(encoded))
    return value if 1 <= value <= 8 else 1


def has_transparency(encoded: bytes) -> bool:
    """Returns whether a PNG or WebP file says that it has transparent pixels."""
    if encoded.startswith(b"\x89PNG"):
        kinds = (kind for kind, _, _ in _png_chunks(encoded))
        return encoded[25:26] in map(_byte, PNG_WITH_ALPHA) or b"tRNS" in kinds
    if encoded.startswith(b"RIFF"):
        place = {b"VP8X": 20, b"VP8L": 24}.get(encoded[12:16])
        return place is not None and bool(_number(encoded[place : place + 1]) & ALPHA)
    return False


def plain_png(encoded: bytes) -> bytes:
    """Returns a PNG file with nothing but its pixels; empty if the file is damaged.

    libpng prints to stderr what it finds wrong with other chunks, such as colour
    profiles, and nothing can turn that off.
    """
    kinds, pieces, place = [], [encoded[:8]], 8
    for kind, start, end in _png_chunks(encoded):
        place = end + 4
        if kind in PNG_PIXELS:
            checksum = _number(encoded[end:place], "big")
            if zlib.crc32(encoded[start - 4 : end]) != checksum:
                return b""
            pieces.append(encoded[start - 8 : place])
        kinds.append(kind)
        if kind == b"IEND":
            break
    is_whole = kinds[:1] == [b"IHDR"] and kinds[-1:] == [b"IEND"]
    return b"".join(pieces) if is_whole and place <= len(encoded) else b""


def _exif(encoded: bytes) -> bytes:
    """Returns the Exif data, from its byte order on; empty if there is none."""
    if encoded.startswith(b"\xff\xd8"):
        pieces = _jpeg_segments(encoded)
    elif encoded.startswith(b"\x89PNG"):
        pieces = ((s, e) for kind, s, e in _png_chunks(encoded) if kind == b"eXIf")
    else:
        pieces = ((s, e) for kind, s, e in _webp_chunks(encoded) if kind == b"EXIF")
    start, end = next(pieces, (0, 0))
    return encoded[start:end].removeprefix(b"Exif\0\0")


def _jpeg_segments(encoded: bytes) -> Iterator[tuple[int, int]]:
    """Yields where Exif segments start and end."""
    place = 2
    for _ in range(MAX_PIECES):
        if encoded[place : place + 1] != b"\xff" or place + 4 > len(encoded):
            return
        marker = encoded[place + 1]
        if marker == 0xFF:  # a byte that fills
            place += 1
            continue
        if marker == START_OF_SCAN:
            return
        end = place + 2 + _number(encoded[place + 2 : place + 4], "big")
        if marker == APP1 and encoded.startswith(b"Exif\0\0", place + 4):
            yield place + 4, end
        place = end


def _png_chunks(encoded: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields kind, start and end of each chunk."""
    place = 8
    for _ in range(MAX_PIECES):
        if place + 8 > len(encoded):
            return
        start = place + 8
        end = start + _number(encoded[place : place + 4], "big")
        yield encoded[place + 4 : start], start, end
        place = end + 4  # after the checksum


def _webp_chunks(encoded: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields kind, start and end of each chunk; an odd length is padded."""
    place = 12
    for _ in range(MAX_PIECES):
        if place + 8 > len(encoded):
            return
        start = place + 8
        size = _number(encoded[place + 4 : start])
        yield encoded[place : place + 4], start, start + size
        place = start + size + size % 2


def _tag(exif: bytes) -> int:
    """Returns the orientation in Exif data, 0 if there is none."""
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(exif[:4])
    if order is None:
        return 0
    directory = _number(exif[4:8], order)
    count = _number(exif[directory : directory + 2], order)
    for i in range(min(count, len(exif) // 12)):
        start = directory + 2 + 12 * i
        entry = exif[start : start + 12]
        if _number(entry[:2], order) == ORIENTATION:
            size = 4 if _number(entry[2:4], order) == LONG else 2
            return _number(entry[8 : 8 + size], order)
    return 0


def _number(digits: bytes, order: str = "little") -> int:
    return int.from_bytes(digits, "big" if order == "big" else "little")


def _byte(value: int) -> bytes:
    return bytes([value])
