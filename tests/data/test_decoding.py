"""Image files: formats, orientation, transparency, limits."""

import io
import struct
import subprocess
import sys
import zlib
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from cnn_arch.data import decoding, metadata

decode = partial(decoding.decode, shown=True)


def random_image(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def smooth_image():
    return cv2.GaussianBlur(random_image(30, 20, 3), (5, 5), 0)


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize("file_format", ["png", "bmp", "webp", "jpeg"])
def test_decode_equals_pillow(file_format):
    file = io.BytesIO()
    image = smooth_image()
    options = {"lossless": True} if file_format == "webp" else {}
    Image.fromarray(image).save(file, file_format, **options)
    decoded = decode(file.getvalue(), 3)
    np.testing.assert_array_equal(decoded, np.asarray(Image.open(file)))
    if file_format != "jpeg":
        np.testing.assert_array_equal(decoded, image)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_decode_jpeg(mode, subsampling, progressive):
    """Decodes all kinds of JPEG; only OpenCV reads all kinds with four inks (CMYK)."""
    file = io.BytesIO()
    picture = Image.fromarray(smooth_image()).convert(mode)
    picture.save(file, "jpeg", progressive=progressive, subsampling=subsampling)
    encoded = np.frombuffer(file.getvalue(), np.uint8)
    for channels, flag in ((3, cv2.IMREAD_COLOR_RGB), (1, cv2.IMREAD_GRAYSCALE)):
        decoded = decode(file.getvalue(), channels)
        expected = np.asarray(cv2.imdecode(encoded, flag)).reshape(30, 20, channels)
        np.testing.assert_array_equal(decoded, expected)


def test_decode_refuses_a_huge_jpeg_by_its_header(monkeypatch):
    encoded = cv2.imencode(".jpg", random_image(8, 8, 3))[1].tobytes()
    size = encoded.index(b"\xff\xc0") + 5  # after marker, length and precision
    huge = encoded[:size] + (11_000).to_bytes(2, "big") * 2 + encoded[size + 4 :]
    monkeypatch.setattr(simplejpeg, "decode_jpeg", pytest.fail)
    with pytest.raises(decoding.UnreadableImageError, match="11000 x 11000 px"):
        decode(huge, 3)


def test_decode_gray():
    image = random_image(9, 7)
    np.testing.assert_array_equal(decode(png(image), 1), image[..., None])
    in_color = decode(png(image), 3)
    np.testing.assert_array_equal(in_color, np.repeat(image[..., None], 3, axis=2))


def huge_bmp():
    """Returns a file of 254 bytes whose header gives 11,000 x 11,000 px."""
    encoded = bytearray(cv2.imencode(".bmp", random_image(8, 8, 3))[1].tobytes())
    encoded[18:26] = (11_000).to_bytes(4, "little") * 2
    return bytes(encoded)


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"GIF89a" + bytes(100),
        b"not an image",
        png(random_image(64, 64, 3))[:60],
        png(random_image(64, 64, 4))[:60],
    ],
    ids=["empty", "gif", "text", "png_cut", "transparent_png_cut"],
)
def test_decode_refuses(encoded):
    with pytest.raises(decoding.UnreadableImageError, match=f"{len(encoded):,} byt"):
        decode(encoded, 3)


def test_a_damaged_jpeg_is_refused_with_the_reason_and_nothing_is_printed(capfd):
    whole = cv2.imencode(".jpg", random_image(64, 64, 3))[1].tobytes()
    table = whole.index(b"\xff\xc4")  # of Huffman codes
    for encoded, reason in (
        (whole[:-500], "Premature end of JPEG file"),
        (whole[:-2], "Premature end of JPEG file"),
        (whole[:-2] + bytes(50) + whole[-2:], "Corrupt JPEG data: "),
        (whole[: table + 2] + b"\0\x14" + whole[table + 4 :], "Could not determine"),
        (whole[:700] + b"\xff\x08" + whole[702:], "Unsupported marker type 0x08"),
    ):
        with pytest.raises(decoding.UnreadableImageError, match=reason):
            decode(encoded, 3)
    assert capfd.readouterr() == ("", "")
    assert decode(whole + b"after the end", 3).shape == (64, 64, 3)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_damaged_png_is_refused_and_nothing_is_printed(capfd, channels):
    image = random_image(64, 64, channels)
    whole = png(image)
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for encoded in (whole[:middle], whole[:-3], whole[:30], flipped, whole[:8]):
        with pytest.raises(decoding.UnreadableImageError):
            decode(encoded, 3)
    # libpng would print what is wrong with chunks that have no pixels.
    text = b"iCCP" + b"name\0\0junk"
    profile = len(text[4:]).to_bytes(4, "big") + text + b"\0\0\0\0"
    noisy = whole[:33] + profile + whole[33:] + b"after the end"
    np.testing.assert_array_equal(decode(noisy, 3), decode(whole, 3))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["BMP", "PNG", "RGBA"])
def test_decode_names_the_limit_of_pixels(kind):
    encoded = huge_bmp()
    if kind != "BMP":
        small = bytearray(png(random_image(8, 8, 4 if kind == "RGBA" else 3)))
        small[16:24] = (11_000).to_bytes(4, "big") * 2
        small[29:33] = zlib.crc32(small[12:29]).to_bytes(4, "big")
        encoded = bytes(small)
    rule = "11000 x 11000 px, the limit is 100,000,000 px"
    with pytest.raises(decoding.UnreadableImageError, match=rule):
        decode(encoded, 3)


def test_opencv_refuses_huge_images_before_it_takes_memory():
    program = (
        "import sys, numpy\n"
        "import cnn_arch.data\n"
        "import cv2\n"
        "encoded = numpy.frombuffer(sys.stdin.buffer.read(), numpy.uint8)\n"
        "try:\n"
        "    cv2.imdecode(encoded, cv2.IMREAD_COLOR)\n"
        "except cv2.error as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], input=huge_bmp(), capture_output=True
    )
    assert b"CV_IO_MAX_IMAGE_PIXELS" in result.stdout


def test_decode_refuses_a_big_file(monkeypatch):
    encoded = png(random_image(8, 8))
    monkeypatch.setattr(decoding, "MAX_FILE_BYTES", len(encoded) - 1)
    with pytest.raises(decoding.UnreadableImageError, match=r"more than .* bytes"):
        decode(encoded, 3)


# Orientation.


def with_orientation(file_format, orientation, image, mode="RGB"):
    exif = Image.Exif()
    exif[metadata.ORIENTATION] = orientation
    file = io.BytesIO()
    options = {"lossless": True} if file_format == "webp" else {}
    picture = Image.fromarray(image).convert(mode)
    picture.save(file, file_format, exif=exif, **options)
    return file


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("file_format", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_pillow_turns_it(orientation, file_format, channels):
    mode = "RGB" if channels == 3 or file_format == "webp" else "L"
    file = with_orientation(file_format, orientation, smooth_image(), mode)
    expected = ImageOps.exif_transpose(Image.open(file))
    expected = np.asarray(expected.convert(mode)).reshape(*expected.size[::-1], -1)
    decoded = decode(file.getvalue(), channels)
    assert decoded.shape == ((30, 20) if orientation < 5 else (20, 30)) + (channels,)
    if channels == expected.shape[-1]:
        np.testing.assert_array_equal(decoded, expected)
    stored = decode(file.getvalue(), channels, shown=False)
    assert stored.shape == (30, 20, channels)
    upright = with_orientation(file_format, 1, smooth_image(), mode)
    np.testing.assert_array_equal(stored, decode(upright.getvalue(), channels))


def test_orientation_in_both_byte_orders_and_types():
    for order, mark in (("<", b"II*\0"), (">", b"MM\0*")):
        for form, kind in (("H", 3), ("I", 4)):
            entries = struct.pack(f"{order}HHIHH", 0x0110, 3, 1, 5, 0)
            entries += struct.pack(f"{order}HHI{form}", 0x0112, kind, 1, 6)
            exif = b"Exif\0\0" + mark + struct.pack(f"{order}IH", 8, 2) + entries
            segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
            other = b"\xff\xff\xe0\0\4ab"  # begins with a byte that fills
            assert metadata.orientation(b"\xff\xd8" + other + segment) == 6


def test_a_damaged_header_is_upright():
    """Every cut and 2,000 random changes: an answer from 1 to 8, and no exception."""
    generator = np.random.default_rng(0)
    for file_format in ("jpeg", "png", "webp"):
        whole = with_orientation(file_format, 6, random_image(8, 8, 3)).getvalue()
        assert metadata.orientation(whole) == 6
        for size in range(len(whole)):
            assert metadata.orientation(whole[:size]) in (1, 6)
            metadata.has_transparency(whole[:size])
        for _ in range(2000):
            changed = np.frombuffer(whole, np.uint8).copy()
            places = generator.integers(0, min(len(whole), 120), 3)
            changed[places] = generator.integers(0, 256, 3)
            assert 1 <= metadata.orientation(changed.tobytes()) <= 8
            metadata.has_transparency(changed.tobytes())


# Transparency.


@pytest.mark.parametrize("file_format", ["png", "webp"])
def test_transparent_parts_are_on_white(file_format):
    image = random_image(9, 7, 4)
    image[0, :, 3], image[1, :, 3] = 0, 255
    file = io.BytesIO()
    options = {"lossless": True, "exact": True} if file_format == "webp" else {}
    Image.fromarray(image).save(file, file_format, **options)
    decoded = decode(file.getvalue(), 3)
    assert (decoded[0] == 255).all()
    np.testing.assert_array_equal(decoded[1], image[1, :, :3])
    share = image[..., 3:] / 255
    np.testing.assert_allclose(
        decoded, share * image[..., :3] + (1 - share) * 255, atol=1
    )
    gray = decode(file.getvalue(), 1)[..., 0]
    np.testing.assert_allclose(gray, decoded @ (0.299, 0.587, 0.114), atol=1)
    stored = decode(file.getvalue(), 3, shown=False)
    np.testing.assert_array_equal(stored, image[..., :3])


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_a_transparent_colour_is_white(mode):
    picture = Image.new("RGB", (6, 5), (0, 0, 200)).convert(mode)
    clear: Any = {"L": 9, "P": 7, "RGB": (1, 2, 3)}[mode]
    picture.paste(clear, (0, 0, 3, 5))
    file = io.BytesIO()
    picture.save(file, "png", transparency=clear)
    decoded = decode(file.getvalue(), 3)
    assert (decoded[:, :3] == 255).all()
    assert (decoded[:, 3:] == np.asarray(picture.convert("RGB"))[:, 3:]).all()


def test_16_bit_transparent_images_keep_their_high_bytes():
    image = np.random.default_rng(0).integers(0, 65536, (9, 7, 4)).astype(np.uint16)
    image[..., 3] = 65535
    encoded = cv2.imencode(".png", image)[1].tobytes()
    np.testing.assert_array_equal(decode(encoded, 3), image[..., 2::-1] >> 8)


def test_an_opaque_image_with_alpha_keeps_its_pixels():
    image = random_image(9, 7, 4)
    image[..., 3] = 255
    np.testing.assert_array_equal(decode(png(image), 3), image[..., :3])
